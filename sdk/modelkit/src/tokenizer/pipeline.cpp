#include "tokenizer/pipeline.h"

#include <unordered_map>

#include "tokenizer/vocabulary_tokenizer.h"

namespace spnl::modelkit {
namespace {

AlignedText part_of(const AlignedText& text, size_t begin, size_t end) {
  AlignedText part;
  part.text.assign(text.text, begin, end - begin);
  part.source_begin = text.source_of(begin);
  if (!text.ends.empty()) {
    part.ends.assign(text.ends.begin() + static_cast<std::ptrdiff_t>(begin),
                     text.ends.begin() + static_cast<std::ptrdiff_t>(end));
  }
  return part;
}

class PipelineTokenizer final : public VocabularyTokenizer {
 public:
  explicit PipelineTokenizer(Pipeline parts)
      : parts_(std::move(parts)),
        vocabulary_(*parts_.vocabulary),
        normalized_texts_(texts_of(parts_.added_normalized)),
        added_(std::move(parts_.added)),
        added_normalized_(std::move(parts_.added_normalized)) {}

  std::string piece(int32_t id, bool spell_special) const override {
    check_id(id);
    if (!spell_special && is_special(id)) return {};
    return is_special(id) ? std::string(vocabulary_.text(id)) : parts_.decoder.piece(token_of(id));
  }
  std::string decode(const std::vector<int32_t>& ids, bool spell_special) const override {
    std::vector<DecoderChain::Token> tokens;
    for (const int32_t id : ids) {
      check_id(id);
      if (spell_special || !is_special(id)) tokens.push_back(token_of(id));
    }
    return parts_.decoder.text(std::move(tokens));
  }

  bool adds_bos() const override {
    return !parts_.prefix.empty() && vocabulary_.bos() == parts_.prefix.front();
  }

 private:
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  // What was found in normalised text is decoded from there too.
  static std::unordered_map<int32_t, std::string> texts_of(const std::vector<AddedToken>& tokens) {
    std::unordered_map<int32_t, std::string> texts;
    for (const AddedToken& token : tokens) texts.emplace(token.id, token.text);
    return texts;
  }
  DecoderChain::Token token_of(int32_t id) const {
    const auto normalized = normalized_texts_.find(id);
    if (normalized != normalized_texts_.end()) return {normalized->second, true};
    const uint8_t flags = vocabulary_.flags(id);
    if ((flags & Vocabulary::kUnused) != 0) return {};  // padding of the table, not text
    constexpr uint8_t kAdded = Vocabulary::kControl | Vocabulary::kUserDefined;
    return {std::string(vocabulary_.text(id)), (flags & kAdded) != 0};
  }

  EncodedText run(std::string_view text, std::span<const TextRange> literal,
                  const TokenizeOptions& options) const override {
    EncodedText out;
    out.ids.reserve(text.size() / 3 + 8);
    out.ends.reserve(text.size() / 3 + 8);
    const auto add = [&](int32_t id, uint64_t end) {
      out.ids.push_back(id);
      out.ends.push_back(end);
    };
    if (options.add_special) {
      for (const int32_t id : parts_.prefix) add(id, 0);
    }
    AlignedText whole;
    whole.text = text;
    const auto parts = added_.split(whole, options.parse_special, literal);
    StretchPlace place;
    place.opens = !options.continues;
    place.continues = options.continues;
    for (size_t i = 0; i < parts.size(); ++i) {
      const AddedTokens::Part& part = parts[i];
      const bool last = i + 1 == parts.size();
      if (part.token == nullptr) {
        place.closes = last || parts[i + 1].token->control;
        stretch(part_of(whole, part.begin, part.end), place, literal, options.parse_special, out);
        place.opens = place.continues = false;
        continue;
      }
      if (place.opens && !part.token->control && parts_.normalizer &&
          parts_.normalizer->wants_empty()) {
        place.closes = false;
        stretch(part_of(whole, part.begin, part.begin), place, literal, options.parse_special, out);
      }
      add(part.token->id, part.end);
      place.opens = part.token->control;
      place.continues = false;
    }
    if (options.add_special) {
      for (const int32_t id : parts_.suffix) add(id, text.size());
    }
    return out;
  }

  void stretch(AlignedText text, StretchPlace place, std::span<const TextRange> literal,
               bool parse_special, EncodedText& out) const {
    if (parts_.normalizer) text = parts_.normalizer->apply(std::move(text), place);
    if (added_normalized_.empty()) return plain(std::move(text), place.continues, out);
    for (const auto& part : added_normalized_.split(text, parse_special, literal)) {
      if (part.token == nullptr) {
        plain(part_of(text, part.begin, part.end), place.continues && part.begin == 0, out);
      } else {
        out.ids.push_back(part.token->id);
        out.ends.push_back(text.source_of(part.end));
      }
    }
  }

  void plain(AlignedText text, bool continues, EncodedText& out) const {
    if (text.text.empty()) return;
    PreTokenized words;
    words.continues = continues;
    words.pieces.push_back({0, text.size()});
    words.text = std::move(text);
    if (parts_.pre_tokenizer) parts_.pre_tokenizer->apply(words);
    const size_t first = out.ids.size();
    parts_.model->encode(words.text.text, words.pieces, out);
    for (size_t i = first; i < out.ends.size(); ++i)
      out.ends[i] = words.text.source_of(out.ends[i]);
  }

  Pipeline parts_;
  const Vocabulary& vocabulary_;
  std::unordered_map<int32_t, std::string> normalized_texts_;
  AddedTokens added_, added_normalized_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_pipeline_tokenizer(Pipeline parts) {
  return std::make_unique<PipelineTokenizer>(std::move(parts));
}

}  // namespace spnl::modelkit
