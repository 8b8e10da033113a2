#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace spnl::modelkit {

/// A grid of unsigned integers of a few bits, packed along one axis into the little-endian 32-bit
/// words of a stored matrix [][width].
struct PackedIntegers {
  const std::byte* words = nullptr;
  uint64_t width = 0;  ///< words in a row of the stored matrix
  uint32_t bits = 4;
  bool down = false;      ///< the words of one line lie below each other; else side by side
  bool straddle = false;  ///< one stream of bits; else a word holds whole integers alone
  const uint8_t* order =
      nullptr;        ///< place in its word of the i-th integer; null: from the lowest bits on
  uint32_t flip = 0;  ///< bits to turn over: 0x80 makes signed bytes count from -128

  uint32_t mask() const { return (1u << bits) - 1; }
  uint64_t per_word() const { return 32 / bits; }
  /// Words that a line of n integers takes.
  uint64_t line_words(uint64_t n) const {
    return straddle ? (n * bits + 31) / 32 : (n + per_word() - 1) / per_word();
  }

  /// Integer `along` of line `line`.
  uint32_t at(uint64_t along, uint64_t line) const {
    uint64_t word = 0;
    uint32_t shift = 0;
    if (straddle) {
      word = along * bits / 32;
      shift = static_cast<uint32_t>(along * bits % 32);
    } else {
      word = along / per_word();
      const auto place = static_cast<uint32_t>(along % per_word());
      shift = (order == nullptr ? place : order[place]) * bits;
    }
    const uint64_t index = down ? word * width + line : line * width + word;
    uint32_t value = load(index) >> shift;
    if (shift + bits > 32) value |= load(index + (down ? width : 1)) << (32 - shift);
    return (value & mask()) ^ flip;
  }

 private:
  uint32_t load(uint64_t index) const {
    uint32_t word;
    std::memcpy(&word, words + index * sizeof word, sizeof word);
    return word;
  }
};

}  // namespace spnl::modelkit
