#include "ops/cpu/block_groups.h"

#include <cstring>

namespace spnl::mistralrs::cpu {

using modelkit::TensorType;

namespace {

void unpack_nibbles(const uint8_t* qs, uint8_t* q) {
  for (int i = 0; i < 16; ++i) {
    q[i] = qs[i] & 15;
    q[i + 16] = qs[i] >> 4;
  }
}

void add_fifth_bits(const uint8_t* qh, uint8_t* q) {
  uint32_t bits;
  std::memcpy(&bits, qh, 4);
  for (int i = 0; i < kGroup; ++i) q[i] = static_cast<uint8_t>(q[i] | (((bits >> i) & 1) << 4));
}

/// The 6-bit scale and min of group j of a Q4_K or Q5_K block.
void unpack_k_scale(const uint8_t* s, int j, uint8_t* out) {
  if (j < 4) {
    out[0] = s[j] & 63;
    out[1] = s[j + 4] & 63;
  } else {
    out[0] = static_cast<uint8_t>((s[j + 4] & 15) | ((s[j - 4] >> 6) << 4));
    out[1] = static_cast<uint8_t>((s[j + 4] >> 4) | ((s[j] >> 6) << 4));
  }
}

void unpack_q6k(const uint8_t* block, int j, Group& group) {
  const int half = j / 4, quarter = j % 4;
  const uint8_t* low = block + 64 * half + 32 * (quarter & 1);
  const uint8_t* high = block + 128 + 32 * half;
  for (int i = 0; i < kGroup; ++i) {
    const int nibble = quarter < 2 ? low[i] & 15 : low[i] >> 4;
    group.q[i] = static_cast<uint8_t>(nibble | (((high[i] >> (2 * quarter)) & 3) << 4));
  }
  std::memcpy(group.scale, block + 192 + 2 * j, 2);
}

void unpack_two_bits(const uint8_t* qs, int j, Group& group) {
  for (int i = 0; i < kGroup; ++i) group.q[i] = (qs[32 * (j / 4) + i] >> (2 * (j % 4))) & 3;
}

/// Scale i of the sixteen 6-bit scales of a Q3_K block, less 32.
uint8_t q3k_scale(const uint8_t* s, int i) {
  const int low = i < 8 ? s[i] & 15 : s[i - 8] >> 4;
  const int high = (s[8 + i % 4] >> (2 * (i / 4))) & 3;
  return static_cast<uint8_t>((low | (high << 4)) - 32);
}

void unpack_q3k(const uint8_t* block, int j, Group& group) {
  unpack_two_bits(block + 32, j, group);
  for (int i = 0; i < kGroup; ++i) {
    group.q[i] = static_cast<uint8_t>(group.q[i] | (((block[i] >> j) & 1) << 2));
  }
  for (int h = 0; h < 2; ++h) group.scale[h] = q3k_scale(block + 96, 2 * j + h);
}

void unpack_iq4xs(const uint8_t* block, int j, Group& group) {
  const int high = (block[2] | (block[3] << 8)) >> (2 * j);
  const int low = block[4 + j / 2] >> (4 * (j % 2));
  group.scale[0] = static_cast<uint8_t>(((low & 15) | ((high & 3) << 4)) - 32);
  unpack_nibbles(block + 8 + 16 * j, group.q);
}

/// 2^(e - 128) as bfloat16; the two smallest are subnormal.
uint16_t half_power_of_two(int e) {
  return static_cast<uint16_t>(e >= 2 ? (e - 1) << 7 : e == 1 ? 0x40 : 0x20);
}

}  // namespace

std::optional<BlockFormat> block_format(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return BlockFormat{Storage::kF32, 1, 4};
    case TensorType::kF16:
      return BlockFormat{Storage::kF16, 1, 2};
    case TensorType::kBF16:
      return BlockFormat{Storage::kBF16, 1, 2};
    case TensorType::kQ4_0:
      return BlockFormat{Storage::kQ4Sym, 32, 18};
    case TensorType::kQ4_1:
      return BlockFormat{Storage::kQ4Asym, 32, 20};
    case TensorType::kQ5_0:
      return BlockFormat{Storage::kQ5Sym, 32, 22};
    case TensorType::kQ5_1:
      return BlockFormat{Storage::kQ5Asym, 32, 24};
    case TensorType::kQ8_0:
      return BlockFormat{Storage::kQ8, 32, 34};
    case TensorType::kQ2_K:
      return BlockFormat{Storage::kQ2K, 256, 84};
    case TensorType::kQ3_K:
      return BlockFormat{Storage::kQ3K, 256, 110};
    case TensorType::kQ4_K:
      return BlockFormat{Storage::kQ4K, 256, 144};
    case TensorType::kQ5_K:
      return BlockFormat{Storage::kQ5K, 256, 176};
    case TensorType::kQ6_K:
      return BlockFormat{Storage::kQ6K, 256, 210};
    case TensorType::kIQ4_NL:
      return BlockFormat{Storage::kTable, 32, 18};
    case TensorType::kIQ4_XS:
      return BlockFormat{Storage::kTableK, 256, 136};
    case TensorType::kMXFP4:
      return BlockFormat{Storage::kFp4, 32, 17};
    default:
      return std::nullopt;
  }
}

int header_offset(TensorType type) {
  switch (type) {
    case TensorType::kQ2_K:
      return 80;
    case TensorType::kQ3_K:
      return 108;
    case TensorType::kQ6_K:
      return 208;
    default:
      return 0;
  }
}

void unpack_group(TensorType type, const uint8_t* block, int j, Group& group) {
  switch (type) {
    case TensorType::kQ4_0:
      std::memcpy(group.scale, block, 2);
      unpack_nibbles(block + 2, group.q);
      break;
    case TensorType::kQ4_1:
      std::memcpy(group.scale, block, 4);
      unpack_nibbles(block + 4, group.q);
      break;
    case TensorType::kQ5_0:
      std::memcpy(group.scale, block, 2);
      unpack_nibbles(block + 6, group.q);
      add_fifth_bits(block + 2, group.q);
      break;
    case TensorType::kQ5_1:
      std::memcpy(group.scale, block, 4);
      unpack_nibbles(block + 8, group.q);
      add_fifth_bits(block + 4, group.q);
      break;
    case TensorType::kQ8_0:
      std::memcpy(group.scale, block, 2);
      for (int i = 0; i < kGroup; ++i) group.q[i] = block[2 + i] ^ 0x80;  // + 128
      break;
    case TensorType::kQ4_K:
    case TensorType::kQ5_K: {
      unpack_k_scale(block + 4, j, group.scale);
      const bool five = type == TensorType::kQ5_K;
      const uint8_t* qs = block + (five ? 48 : 16) + 32 * (j / 2);
      for (int i = 0; i < kGroup; ++i) group.q[i] = j % 2 ? qs[i] >> 4 : qs[i] & 15;
      if (five) {
        for (int i = 0; i < kGroup; ++i) {
          group.q[i] = static_cast<uint8_t>(group.q[i] | (((block[16 + i] >> j) & 1) << 4));
        }
      }
      break;
    }
    case TensorType::kQ6_K:
      unpack_q6k(block, j, group);
      break;
    case TensorType::kQ2_K:
      unpack_two_bits(block + 16, j, group);
      std::memcpy(group.scale, block + 2 * j, 2);
      break;
    case TensorType::kQ3_K:
      unpack_q3k(block, j, group);
      break;
    case TensorType::kIQ4_NL:
      std::memcpy(group.scale, block, 2);
      unpack_nibbles(block + 2, group.q);
      break;
    case TensorType::kIQ4_XS:
      unpack_iq4xs(block, j, group);
      break;
    default: {
      const uint16_t d = half_power_of_two(block[0]);
      std::memcpy(group.scale, &d, 2);
      unpack_nibbles(block + 1, group.q);
    }
  }
}

}  // namespace spnl::mistralrs::cpu
