#pragma once
#include <optional>
#include <string_view>

#include "tokenizer/pipeline.h"

namespace spnl::modelkit {

/// Metadata that only some kinds of GGUF vocabulary have.
struct GgufExtras {
  bool remove_extra_whitespaces = false;
  std::string_view charsmap;  ///< precompiled_charsmap; empty: none
  std::optional<uint64_t> separator;
};

/// tokenizer.ggml.model "bert" (WordPiece whose words begin with U+2581), "t5" (Unigram) and
/// "gemma4" (BPE over characters, with U+2581 for blanks and byte fallback). Throws
/// Error(kCorrupt).
Pipeline read_gguf_bert(const TokenizerData& data, const GgufExtras& extras);
Pipeline read_gguf_t5(const TokenizerData& data, const GgufExtras& extras);
Pipeline read_gguf_gemma4(const TokenizerData& data);

}  // namespace spnl::modelkit
