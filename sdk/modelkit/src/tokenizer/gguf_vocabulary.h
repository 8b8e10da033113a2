#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace spnl::modelkit {

/// The metadata tokenizer.ggml.* of a folder's tokenizer.
struct GgufVocabulary {
  std::string model;  ///< "gpt2" or "llama"
  std::string pre;    ///< of gpt2: how text is cut into words
  std::vector<std::string> tokens, merges;
  std::vector<float> scores;   ///< of llama
  std::vector<int32_t> types;  ///< as GGUF numbers them
  std::optional<uint32_t> bos, eos, eot, unknown;
  bool add_bos = false, add_eos = false, add_space_prefix = false;
};

/// `rows`: of the embedding; ids without a token get one that is never used. The result was tried:
/// it gives the same ids as the folder's own tokenizer on texts of many kinds. Throws
/// Error(kUnsupported) for a tokenizer that GGUF files cannot hold, or not yet.
GgufVocabulary gguf_vocabulary_of_folder(const std::filesystem::path& folder, uint32_t rows);

}  // namespace spnl::modelkit
