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

}  // namespace spnl::modelkit
