#pragma once
#include "tokenizer/added_tokens.h"
#include "tokenizer/decoders.h"
#include "tokenizer/stages.h"
#include "tokenizer_vocab.h"

namespace spnl::modelkit {

/// The parts of a tokenizer; those that may be null do nothing then.
struct Pipeline {
  std::unique_ptr<Vocabulary> vocabulary;
  std::vector<AddedToken> added;             ///< found in the text as it is
  std::vector<AddedToken> added_normalized;  ///< found in normalised text; spelled normalised
  std::unique_ptr<TextNormalizer> normalizer;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  std::unique_ptr<TokenModel> model;  ///< refers to *vocabulary
  DecoderChain decoder;
  std::vector<int32_t> prefix, suffix;  ///< ids around a text with special tokens
};

/// Takes the parts, of which vocabulary and model must be there.
std::unique_ptr<Tokenizer> make_pipeline_tokenizer(Pipeline parts);

}  // namespace spnl::modelkit
