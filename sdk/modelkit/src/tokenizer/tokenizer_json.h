#pragma once
#include "json_file.h"
#include "tokenizer/pipeline.h"
#include "tokenizer/tokenizer_config.h"

namespace spnl::modelkit {

class VocabularyBuilder;

/// Of the file, for a token of some tens of thousands: "abc":10000,
constexpr size_t kLeastTokenBytes = 12;

/// A tokenizer.json of Hugging Face's tokenizers library. Throws Error(kCorrupt) for what
/// contradicts itself and kUnsupported naming a kind that is unknown. Truncation, padding and
/// dropout, which serve training, are ignored.
Pipeline read_tokenizer_json(const JsonFile& file, const TokenizerConfig& config);

/// Adds the members of an object: text and id.
void read_vocabulary(const JsonFile& file, const JsonValue& vocab, VocabularyBuilder& builder);

}  // namespace spnl::modelkit
