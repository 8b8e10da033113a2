#pragma once
#include <cstddef>
#include <string_view>

namespace spnl::modelkit {

/// What stands at the beginning of some bytes, after Unicode table 3-7 (well-formed UTF-8).
struct Utf8Step {
  enum Kind { kCharacter, kIllFormed, kIncomplete } kind;
  /// Bytes of the character, or of the maximal ill-formed part, or all bytes that begin a longer
  /// character.
  size_t size;
};

/// `bytes` must not be empty. kIncomplete: they end inside what may still become a character.
Utf8Step utf8_step(std::string_view bytes);

/// Number of leading bytes that are well-formed UTF-8.
size_t utf8_valid_prefix(std::string_view bytes);

/// Calls `valid(begin, end)` for the stretches of well-formed UTF-8, and `ill_formed(begin, end)`
/// for what lies between them.
template <typename Valid, typename IllFormed>
void for_each_stretch(std::string_view text, Valid&& valid, IllFormed&& ill_formed) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t good = utf8_valid_prefix(text.substr(at));
    if (good > 0) valid(at, at + good);
    at += good;
    size_t bad = at;
    while (bad < text.size()) {
      const Utf8Step step = utf8_step(text.substr(bad));
      if (step.kind == Utf8Step::kCharacter) break;
      bad += step.size;
    }
    if (bad > at) ill_formed(at, bad);
    at = bad;
  }
}

}  // namespace spnl::modelkit
