#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json_file.h"
#include "tokenizer/aligned_text.h"
#include "tokenizer/regex.h"
#include "unicode_utf8.h"

namespace spnl::modelkit {

/// Matches of `regex` in `text` in order, searched in the stretches that are UTF-8; calls
/// `gap(begin, end)` for what lies between them.
template <typename Match, typename Gap>
void for_each_match(const Regex& regex, std::string_view text, Match&& match, Gap&& gap) {
  Regex::Matcher matcher;
  const auto search = [&](size_t base, size_t stop) {
    const std::string_view stretch = text.substr(base, stop - base);
    size_t done = 0, at = 0, begin = 0, end = 0;
    while (at <= stretch.size() && matcher.find(regex, stretch, at, begin, end)) {
      at = end;
      if (begin == end) {  // an empty match takes nothing; go on behind the next character
        at += end < stretch.size() ? utf8_step(stretch.substr(end)).size : 1;
        continue;
      }
      if (begin > done) gap(base + done, base + begin);
      match(base + begin, base + end);
      done = end;
    }
    if (done < stretch.size()) gap(base + done, stop);
  };
  for_each_stretch(text, search, gap);
}

/// A fixed text or a regular expression, as {"String": ..} or {"Regex": ..} say.
class TextPattern {
 public:
  explicit TextPattern(std::string_view text) : text_(text) {}
  explicit TextPattern(Regex regex) : regex_(std::move(regex)) {}
  /// All matches that are not empty, ascending.
  std::vector<TextPiece> find_all(std::string_view text) const;

 private:
  std::string text_;
  std::optional<Regex> regex_;
};

/// The member "pattern" of `owner`.
TextPattern read_text_pattern(const JsonFile& file, const JsonValue& owner);

}  // namespace spnl::modelkit
