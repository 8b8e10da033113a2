#include "tokenizer/model_words.h"

#include <algorithm>

#include "tokenizer/word_cache.h"
#include "unicode_properties.h"

namespace spnl::modelkit {

bool WordPieceModel::encode_word(std::string_view word, size_t base, EncodedText& out) const {
  size_t characters = 0;
  for (size_t at = 0; at < word.size(); at += unicode::character_at(word, at).size) {
    if (++characters > options_.longest_word) return false;
  }
  std::string candidate;
  for (size_t start = 0; start < word.size();) {
    const std::string& prefix = start == 0 ? options_.first : options_.next;
    size_t end = std::min(word.size(), start + vocabulary_.longest());
    int32_t id = -1;
    while (end > start) {
      candidate.assign(prefix);
      candidate += word.substr(start, end - start);
      id = vocabulary_.find_plain(candidate);
      if (id >= 0) break;
      do --end;  // back over one character
      while (end > start && (static_cast<unsigned char>(word[end]) & 0xC0) == 0x80);
    }
    if (id < 0) return false;
    out.ids.push_back(id);
    out.ends.push_back(base + end);
    start = end;
  }
  return true;
}

void WordPieceModel::encode(std::string_view text, std::span<const TextPiece> pieces,
                            EncodedText& out) const {
  WordCache cache(text.size());
  for (const TextPiece& piece : pieces) {
    cache.encode(text.substr(piece.begin, piece.end - piece.begin), piece.begin, out,
                 [&](std::string_view word, size_t base, EncodedText& words) {
                   const size_t before = words.ids.size();
                   if (encode_word(word, base, words)) return;
                   words.ids.resize(before);
                   words.ends.resize(before);
                   if (!options_.unknown) return;
                   words.ids.push_back(*options_.unknown);
                   words.ends.push_back(base + word.size());
                 });
  }
}

void WordLevelModel::encode(std::string_view text, std::span<const TextPiece> pieces,
                            EncodedText& out) const {
  for (const TextPiece& piece : pieces) {
    const int32_t id = vocabulary_.find_plain(text.substr(piece.begin, piece.end - piece.begin));
    if (id < 0 && !unknown_) continue;
    out.ids.push_back(id < 0 ? *unknown_ : id);
    out.ends.push_back(piece.end);
  }
}

}  // namespace spnl::modelkit
