#include "tokenizer/sentencepiece_normalizer.h"

#include "unicode_properties.h"

namespace spnl::modelkit {

AlignedText SentencePieceNormalizer::apply(AlignedText text, StretchPlace place) const {
  const std::string_view blank = rules_.escape_whitespaces ? "\xE2\x96\x81" : " ";
  const bool removes = rules_.remove_extra_whitespaces;
  // The next unit of the text and what it becomes.
  const auto next = [&](size_t at) {
    const std::string_view rest = std::string_view(text.text).substr(at);
    if (rules_.charsmap) {
      if (const auto match = rules_.charsmap->longest(rest)) return *match;
    }
    const size_t size = unicode::character_at(rest, 0).size;
    return Charsmap::Match{size, rest.substr(0, size)};
  };

  size_t at = 0;
  if (removes && place.opens) {
    while (at < text.size()) {
      const Charsmap::Match match = next(at);
      if (match.replacement != " ") break;
      at += match.size;
    }
  }
  AlignedWriter writer(text);
  if (at == text.size() && place.opens && place.closes) return writer.finish();
  if (place.opens && rules_.dummy_prefix && !rules_.blank_after) writer.put(blank, at);

  const size_t begin = writer.size();
  bool after_blank = removes && place.opens;
  while (at < text.size()) {
    const Charsmap::Match match = next(at);
    std::string_view piece = match.replacement;
    const bool same = piece == std::string_view(text.text).substr(at, match.size);
    while (after_blank && piece.substr(0, 1) == " ") piece.remove_prefix(1);
    if (same && piece.size() == match.size && piece.find(' ') == std::string_view::npos) {
      writer.copy(at, at + match.size);
    } else {
      for (size_t i = 0; i < piece.size(); ++i)
        writer.put(piece[i] == ' ' ? blank : piece.substr(i, 1), at + match.size);
    }
    if (!piece.empty()) after_blank = removes && piece.back() == ' ';
    at += match.size;
  }
  while (removes && place.closes && writer.size() >= begin + blank.size() &&
         writer.text().substr(writer.size() - blank.size()) == blank) {
    writer.truncate(writer.size() - blank.size());
  }
  if (place.closes && rules_.dummy_prefix && rules_.blank_after) writer.put(blank, text.size());
  return writer.finish();
}

}  // namespace spnl::modelkit
