#include "tokenizer/text_search.h"

namespace spnl::modelkit {

std::vector<TextPiece> TextPattern::find_all(std::string_view text) const {
  std::vector<TextPiece> matches;
  if (regex_) {
    for_each_match(
        *regex_, text,
        [&](size_t begin, size_t end) {
          matches.push_back({begin, end});
        },
        [](size_t, size_t) {});
    return matches;
  }
  if (text_.empty()) return matches;
  for (size_t at = text.find(text_); at != std::string_view::npos;
       at = text.find(text_, at + text_.size())) {
    matches.push_back({at, at + text_.size()});
  }
  return matches;
}

TextPattern read_text_pattern(const JsonFile& file, const JsonValue& owner) {
  const auto pattern = owner.find("pattern");
  if (!pattern) file.corrupt("a pattern is missing");
  if (pattern->is_string()) return TextPattern(pattern->text());
  if (pattern->find("String")) return TextPattern(file.string(*pattern, "String", ""));
  if (!pattern->find("Regex")) file.corrupt("a pattern is neither String nor Regex");
  return TextPattern(regex_from_oniguruma(file.string(*pattern, "Regex", "")));
}

}  // namespace spnl::modelkit
