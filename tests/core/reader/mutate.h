#pragma once
#include <random>
#include <span>
#include <string>

namespace spnl::test {

/// Damages a query in one to four places: leaves bytes out, puts a piece in, changes a byte, or
/// repeats a part of it.
inline void mutate(std::string& text, std::span<const std::string> pieces, std::mt19937& random) {
  for (uint32_t edits = 1 + random() % 4; edits > 0 && !text.empty(); --edits) {
    const size_t at = random() % text.size();
    switch (random() % 4) {
      case 0:
        text.erase(at, 1 + random() % 5);
        break;
      case 1:
        text.insert(at, pieces[random() % pieces.size()]);
        break;
      case 2:
        text[at] = static_cast<char>(random() % 256);
        break;
      default:
        text.insert(at, text.substr(random() % text.size(), random() % 20));
    }
  }
}

}  // namespace spnl::test
