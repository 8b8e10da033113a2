#pragma once
#include "json_file.h"
#include "tokenizer/stages.h"

namespace spnl::modelkit {

/// BERT's clean-up, as tokenizer.json's "BertNormalizer".
struct BertRules {
  bool clean_text = true, chinese_blanks = true, strip_accents = true, lowercase = true;
};
std::unique_ptr<TextNormalizer> make_bert_normalizer(const BertRules& rules);
std::unique_ptr<TextNormalizer> make_nfc_normalizer();

/// The normalizer that `value` describes. Throws Error(kUnsupported) naming a kind that is unknown.
std::unique_ptr<TextNormalizer> read_normalizer(const JsonFile& file, const JsonValue& value);

}  // namespace spnl::modelkit
