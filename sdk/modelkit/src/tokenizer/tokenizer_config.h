#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "json_file.h"
#include "tokenizer/added_tokens.h"

namespace spnl::modelkit {

/// What an added token costs in memory, with all that finds it in texts: so much, and so many times
/// its text. And what any tokenizer may cost.
constexpr size_t kAddedTokenBytes = 300, kAddedTextCopies = 12, kSmallTokenizer = 1 << 20;

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

/// Added tokens of one file, in a list of several files. Refuses (Error(kCorrupt)) a file whose
/// tokens would cost more memory than is in proportion to it.
class AddedSpecs {
 public:
  AddedSpecs(const JsonFile& file, std::vector<AddedSpec>& list) : file_(file), list_(list) {}
  void add(AddedSpec spec);  ///< one without text is none

 private:
  const JsonFile& file_;
  std::vector<AddedSpec>& list_;
  size_t cost_ = 0;
};

/// An entry of "added_tokens" or "added_tokens_decoder", without its id.
AddedSpec read_added_token(const JsonFile& file, const JsonValue& value);

/// Throws Error(kCorrupt) for a file that cannot be understood.
TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder);

}  // namespace spnl::modelkit
