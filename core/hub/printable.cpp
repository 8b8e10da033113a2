#include "hub/printable.h"

#include <cstdio>

namespace spnl::hub {

namespace {

/// Length of the well-formed UTF-8 character at the start of `text`, or 0. Overlong forms and
/// surrogates are not told apart: the aim is a line that a terminal shows, not validation.
size_t character_length(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const size_t n = first < 0x80   ? 1
                   : first < 0xC2 ? 0
                   : first < 0xE0 ? 2
                   : first < 0xF0 ? 3
                   : first < 0xF5 ? 4
                                  : 0;
  if (n > text.size()) return 0;
  for (size_t i = 1; i < n; ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) return 0;
  return n;
}

}  // namespace

std::string printable(std::string_view text, size_t limit) {
  std::string out;
  while (!text.empty()) {
    if (out.size() >= limit) return out + "...";
    const size_t n = character_length(text);
    const auto first = static_cast<unsigned char>(text[0]);
    // C1 controls (C2 80 .. C2 9F) also steer terminals.
    const bool c1 = n == 2 && first == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0;
    if (n == 0 || first < 0x20 || first == 0x7F || c1) {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02X", first);
      out += escaped;
      text.remove_prefix(1);
    } else {
      out += text.substr(0, n);
      text.remove_prefix(n);
    }
  }
  return out;
}

}  // namespace spnl::hub
