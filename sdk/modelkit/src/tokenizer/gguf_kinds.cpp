#include "tokenizer/gguf_kinds.h"

#include <algorithm>
#include <limits>

#include "spnl/modelkit/error.h"
#include "tokenizer/model_bpe.h"
#include "tokenizer/model_unigram.h"
#include "tokenizer/model_words.h"
#include "tokenizer/normalizers.h"
#include "tokenizer/pre_tokenizers.h"
#include "tokenizer/sentencepiece_normalizer.h"

namespace spnl::modelkit {
namespace {

Pipeline begin(const TokenizerData& data) {
  Pipeline parts;
  parts.vocabulary = std::make_unique<Vocabulary>(data);
  parts.added = added_tokens_of(*parts.vocabulary);
  return parts;
}

void surround(const TokenizerData& data, bool add_bos, bool add_eos, Pipeline& parts) {
  if (data.add_bos.value_or(add_bos) && parts.vocabulary->bos())
    parts.prefix.push_back(*parts.vocabulary->bos());
  if (data.add_eos.value_or(add_eos) && parts.vocabulary->eos())
    parts.suffix.push_back(*parts.vocabulary->eos());
}

std::string_view part_of_merge(const TokenizerData& data, size_t i, bool right) {
  const std::string_view merge = data.merges[i];
  const size_t blank = merge.find(' ', 1);
  if (blank == std::string_view::npos) {
    throw Error(ErrorCode::kCorrupt,
                "tokenizer.ggml.merges: entry " + std::to_string(i) + " has no blank");
  }
  return right ? merge.substr(blank + 1) : merge.substr(0, blank);
}

}  // namespace

Pipeline read_gguf_bert(const TokenizerData& data, const GgufExtras& extras) {
  Pipeline parts = begin(data);
  // [CLS] and [SEP] stand in for bos and eos.
  surround(data, true, false, parts);
  const auto size = static_cast<uint64_t>(parts.vocabulary->size());
  if (extras.separator && *extras.separator < size)
    parts.suffix.assign(1, static_cast<int32_t>(*extras.separator));
  parts.normalizer = make_bert_normalizer({});
  parts.pre_tokenizer = make_bert_pre_tokenizer();
  WordPieceOptions options;
  options.unknown = parts.vocabulary->unknown();
  options.first = "\xE2\x96\x81";
  options.next.clear();
  options.longest_word = std::numeric_limits<size_t>::max();
  parts.model = std::make_unique<WordPieceModel>(*parts.vocabulary, std::move(options));
  parts.decoder = make_sentencepiece_decoder(/*drops_first=*/true);
  return parts;
}

Pipeline read_gguf_t5(const TokenizerData& data, const GgufExtras& extras) {
  Pipeline parts = begin(data);
  surround(data, false, true, parts);
  UnigramOptions options;
  options.unknown = parts.vocabulary->unknown();
  options.user_defined = false;
  options.byte_fallback = true;
  for (int32_t id = 0; id < parts.vocabulary->size(); ++id) {
    if ((parts.vocabulary->flags(id) & Vocabulary::kNormal) != 0)
      options.lowest = std::min<double>(options.lowest, parts.vocabulary->score(id));
  }
  parts.model = std::make_unique<UnigramModel>(*parts.vocabulary, std::move(options));
  SentencePieceRules rules;
  if (!extras.charsmap.empty()) rules.charsmap.emplace(extras.charsmap);
  rules.dummy_prefix = data.add_space_prefix.value_or(true);
  rules.remove_extra_whitespaces = extras.remove_extra_whitespaces;
  parts.decoder = make_sentencepiece_decoder(rules.dummy_prefix);
  parts.normalizer = std::make_unique<SentencePieceNormalizer>(std::move(rules));
  return parts;
}

Pipeline read_gguf_gemma4(const TokenizerData& data) {
  Pipeline parts = begin(data);
  surround(data, true, false, parts);
  SentencePieceRules rules;  // blanks become U+2581, and nothing else changes
  rules.dummy_prefix = data.add_space_prefix.value_or(false);
  parts.decoder = make_sentencepiece_decoder(rules.dummy_prefix);
  parts.normalizer = std::make_unique<SentencePieceNormalizer>(std::move(rules));
  BpeOptions options;
  options.unknown = parts.vocabulary->unknown();
  options.fuse_unknown = true;
  options.byte_fallback = true;
  auto model =
      std::make_unique<CharacterBpe>(*parts.vocabulary, std::move(options), data.merges.size());
  for (size_t i = 0; i < data.merges.size(); ++i)
    model->add_merge(part_of_merge(data, i, false), part_of_merge(data, i, true));
  parts.model = std::move(model);
  return parts;
}

}  // namespace spnl::modelkit
