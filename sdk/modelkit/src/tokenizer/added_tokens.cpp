#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "tokenizer_vocab.h"
#include "unicode_properties.h"

namespace spnl::modelkit {
namespace {

// Does [begin, end) touch one of the ranges? `next` only moves forward: begin never decreases.
bool touches(std::span<const TextRange> ranges, size_t& next, size_t begin, size_t end) {
  while (next < ranges.size() && ranges[next].end <= begin) ++next;
  for (size_t i = next; i < ranges.size() && ranges[i].begin < end; ++i) {
    if (ranges[i].end > begin && ranges[i].end > ranges[i].begin) return true;
  }
  return false;
}

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  using namespace unicode;
  return (begin == 0 || !is_word(character_before(text, begin).code)) &&
         (end == text.size() || !is_word(character_at(text, end).code));
}

size_t skip_space(std::string_view text, size_t at) {
  while (at < text.size()) {
    const unicode::Character c = unicode::character_at(text, at);
    if (!unicode::is_white_space(c.code)) break;
    at += c.size;
  }
  return at;
}

size_t skip_space_back(std::string_view text, size_t at, size_t limit) {
  while (at > limit) {
    const unicode::Character c = unicode::character_before(text, at);
    if (!unicode::is_white_space(c.code) || at - c.size < limit) break;
    at -= c.size;
  }
  return at;
}

}  // namespace

std::vector<AddedToken> added_tokens_of(const Vocabulary& vocabulary) {
  std::vector<AddedToken> tokens;
  constexpr uint8_t kAdded = Vocabulary::kControl | Vocabulary::kUserDefined | Vocabulary::kUnknown;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const uint8_t flags = vocabulary.flags(id);
    if ((flags & kAdded) == 0) continue;
    tokens.push_back({.text = std::string(vocabulary.text(id)),
                      .id = id,
                      .control = (flags & (Vocabulary::kControl | Vocabulary::kUnknown)) != 0,
                      .strip_right = (flags & Vocabulary::kStripRight) != 0});
  }
  return tokens;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](const AddedToken& token) { return token.text.empty(); });
  std::vector<std::pair<std::string_view, int32_t>> texts;
  for (const AddedToken& token : tokens_)
    texts.emplace_back(token.text, static_cast<int32_t>(texts.size()));
  trie_.emplace(std::move(texts));
}

std::vector<AddedTokens::Part> AddedTokens::split(const AlignedText& aligned, bool parse_special,
                                                  std::span<const TextRange> literal) const {
  const std::string_view text = aligned.text;
  std::vector<Part> parts;
  size_t plain = 0, next_literal = 0, at = 0;
  while (at < text.size()) {
    uint32_t node = trie_->child(0, static_cast<unsigned char>(text[at]));
    const AddedToken* best = nullptr;
    size_t end = at;
    for (size_t stop = at + 1; node != 0; ++stop) {
      if (trie_->value(node) >= 0) {
        const AddedToken& token = tokens_[static_cast<size_t>(trie_->value(node))];
        if (!token.control ||
            (parse_special &&
             !touches(literal, next_literal, aligned.source_of(at), aligned.source_of(stop)))) {
          best = &token;
          end = stop;
        }
      }
      if (stop == text.size()) break;
      node = trie_->child(node, static_cast<unsigned char>(text[stop]));
    }
    if (best == nullptr) {
      ++at;
      continue;
    }
    if (best->single_word && !stands_alone(text, at, end)) {
      at = end;
      continue;
    }
    const size_t begin = best->strip_left ? skip_space_back(text, at, plain) : at;
    if (begin > plain) parts.push_back({plain, begin, nullptr});
    parts.push_back({begin, end, best});
    plain = best->strip_right ? skip_space(text, end) : end;
    at = plain;
  }
  if (text.size() > plain) parts.push_back({plain, text.size(), nullptr});
  return parts;
}

}  // namespace spnl::modelkit
