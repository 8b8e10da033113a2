#pragma once
#include "json_file.h"
#include "pretokenizer.h"
#include "tokenizer/regex.h"
#include "tokenizer/stages.h"

namespace spnl::modelkit {

/// The pre-tokenizer that `value` describes. Throws Error(kUnsupported) naming a kind that is
/// unknown.
std::unique_ptr<PreTokenizer> read_pre_tokenizer(const JsonFile& file, const JsonValue& value);
/// BERT's words: cut at white space and around punctuation.
std::unique_ptr<PreTokenizer> make_bert_pre_tokenizer();
/// Matches of an expression are words, and so is what lies between them.
std::unique_ptr<PreTokenizer> make_splitter(Regex regex);
/// Words of a recipe (see pretokenizer.h); `letters`: bytes become the letters of byte-level
/// models.
std::unique_ptr<PreTokenizer> make_recipe_pre_tokenizer(Pretokenizer recipe, bool letters);

}  // namespace spnl::modelkit
