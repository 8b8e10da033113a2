#include "tokenizer/model_score.h"

#include "tokenizer/word_cache.h"

namespace spnl::modelkit {

void SentencePieceBpe::encode(std::string_view text, std::span<const TextPiece> pieces,
                              EncodedText& out) const {
  for (const TextPiece& piece : pieces)
    model_.encode(text, piece.begin, piece.end, /*prefix=*/false, out);
}

void RankedBpe::encode(std::string_view text, std::span<const TextPiece> pieces,
                       EncodedText& out) const {
  WordCache cache(text.size());
  for (const TextPiece& piece : pieces) {
    cache.encode(text.substr(piece.begin, piece.end - piece.begin), piece.begin, out,
                 [&](std::string_view word, size_t base, EncodedText& words) {
                   const int32_t id = vocabulary_.find_plain(word);
                   if (id < 0) return model_.encode_bytes(word, base, words);
                   words.ids.push_back(id);
                   words.ends.push_back(base + word.size());
                 });
  }
}

}  // namespace spnl::modelkit
