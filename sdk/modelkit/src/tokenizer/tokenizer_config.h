#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/json_file.h"

namespace spnl::modelkit {

/// An added token as configuration files describe it.
struct AddedSpec {
  AddedToken token;
  bool normalized = false;     ///< found after normalisation
  std::optional<uint64_t> id;  ///< that the file gives it
};

/// What stands beside a tokenizer's file: tokenizer_config.json, special_tokens_map.json,
/// generation_config.json, config.json, added_tokens.json. Each may be missing.
struct TokenizerConfig {
  std::string tokenizer_class;
  std::optional<std::string> bos, eos;        ///< spellings
  std::optional<uint64_t> bos_id, eos_id;     ///< of config.json, when no spelling is given
  std::optional<std::vector<uint64_t>> ends;  ///< ids that end an answer; absent: no file says
  std::optional<bool> add_bos, add_eos;
  std::vector<AddedSpec> added;       ///< added_tokens_decoder and added_tokens.json
  std::vector<std::string> specials;  ///< spellings of bos, eos, unk, pad ..., if they are tokens
};

/// An entry of "added_tokens" or "added_tokens_decoder", without its id.
AddedSpec read_added_token(const JsonFile& file, const JsonFile::Value& value);

/// Throws Error(kCorrupt) for a file that cannot be understood.
TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder);

}  // namespace spnl::modelkit
