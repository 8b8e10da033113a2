#pragma once
#include <bit>
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
      nullptr;        ///< of 4 bits: place in its word of the i-th; null: from the lowest on
  uint32_t flip = 0;  ///< bits to turn over: 0x80 makes signed bytes count from -128

  uint32_t mask() const { return (1u << bits) - 1; }
  uint64_t per_word() const { return 32 / bits; }
  /// Words that a line of n integers takes.
  uint64_t line_words(uint64_t n) const {
    return straddle ? (n * bits + 31) / 32 : (n + per_word() - 1) / per_word();
  }

  /// Integer `along` of line `line`.
  uint32_t at(uint64_t along, uint64_t line) const {
    uint32_t value;
    across(along, line, 1, &value);
    return value;
  }

  /// Integer `along` of lines [first, first + count).
  template <class T>
  void across(uint64_t along, uint64_t first, uint64_t count, T* out) const {
    const auto [word, shift] = place(along);
    const uint64_t step = down ? 1 : width, next = down ? width : 1;
    const std::byte* at = words + (down ? word * width + first : first * width + word) * 4;
    const bool split = shift + bits > 32;
    for (uint64_t i = 0; i < count; ++i, at += step * 4) {
      uint32_t value = load(at) >> shift;
      if (split) value |= load(at + next * 4) << (32 - shift);
      out[i] = static_cast<T>((value & mask()) ^ flip);
    }
  }

 private:
  struct Place {
    uint64_t word;
    uint32_t shift;
  };
  Place place(uint64_t along) const {
    // Words hold whole integers of 2, 4 and 8 bits anyway; no division, which would cost more than
    // all the rest.
    if (straddle || std::has_single_bit(bits)) {
      const auto shift = static_cast<uint32_t>(along * bits % 32);
      return {along * bits / 32, order == nullptr ? shift : order[along % 8] * bits};
    }
    return {along / per_word(), static_cast<uint32_t>(along % per_word()) * bits};
  }
  static uint32_t load(const std::byte* at) {
    uint32_t word;
    std::memcpy(&word, at, sizeof word);
    return word;
  }
};

}  // namespace spnl::modelkit
