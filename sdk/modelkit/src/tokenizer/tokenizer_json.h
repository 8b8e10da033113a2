#pragma once
#include "tokenizer/json_file.h"
#include "tokenizer/pipeline.h"
#include "tokenizer/tokenizer_config.h"

namespace spnl::modelkit {

/// A tokenizer.json of Hugging Face's tokenizers library. Throws Error(kCorrupt) for what
/// contradicts itself and kUnsupported naming a kind that is unknown. Truncation, padding and
/// dropout, which serve training, are ignored.
Pipeline read_tokenizer_json(const JsonFile& file, const TokenizerConfig& config);

}  // namespace spnl::modelkit
