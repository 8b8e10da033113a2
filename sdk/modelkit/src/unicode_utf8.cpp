#include "unicode_utf8.h"

#include <cstdint>
#include <cstring>

namespace spnl::modelkit {

Utf8Step utf8_step(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return {Utf8Step::kCharacter, 1};
  size_t size = 0;
  unsigned char low = 0x80, high = 0xBF;  // what the second byte may be
  if (lead >= 0xC2 && lead <= 0xDF) {
    size = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    size = 3;
    if (lead == 0xE0) low = 0xA0;   // else overlong
    if (lead == 0xED) high = 0x9F;  // else a surrogate
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    size = 4;
    if (lead == 0xF0) low = 0x90;   // else overlong
    if (lead == 0xF4) high = 0x8F;  // else above U+10FFFF
  } else {
    return {Utf8Step::kIllFormed, 1};
  }
  for (size_t i = 1; i < size; ++i) {
    if (i == bytes.size()) return {Utf8Step::kIncomplete, i};
    if (at(i) < low || at(i) > high) return {Utf8Step::kIllFormed, i};
    low = 0x80;
    high = 0xBF;
  }
  return {Utf8Step::kCharacter, size};
}

size_t utf8_valid_prefix(std::string_view bytes) {
  size_t i = 0;
  while (i < bytes.size()) {
    uint64_t eight;
    if (bytes.size() - i >= sizeof eight) {  // most text is ASCII
      std::memcpy(&eight, bytes.data() + i, sizeof eight);
      if ((eight & 0x8080808080808080u) == 0) {
        i += sizeof eight;
        continue;
      }
    }
    const Utf8Step step = utf8_step(bytes.substr(i));
    if (step.kind != Utf8Step::kCharacter) break;
    i += step.size;
  }
  return i;
}

}  // namespace spnl::modelkit
