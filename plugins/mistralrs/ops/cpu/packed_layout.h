#pragma once
#include <cstdint>

// How packed weights and quantised activations lie in memory: shared by the packer and the kernels.
//
// clang-format off
// Weights: panels of `lanes` rows, one row a 32-bit lane of the vectors of the instruction set. A panel is
// a sequence of units; a unit holds 32 columns (256 for K-quants, 1 for float types):
//   header     K-quants: d[lanes] f16, and dmin[lanes] f16 where there are minimums
//   groups of 32 columns, each
//     scales   symmetric: d f16 (MXFP4: bf16); asymmetric: d f16, m f16; Q4_K, Q5_K: scale u8, min u8;
//              Q6_K, Q3_K: two i8 (16 columns each); Q2_K: two u8 (scale in the low, min in the high half);
//              IQ4_XS: i8
//     low      4 to 6 bits: byte b of lane r of vector j = column 4j+b in the low, 4(j+4)+b in the high half
//              8 bits: byte b of lane r of vector j = column 4j+b
//              2 and 3 bits: field f (of 2 bits) of byte b of lane r of vector p = column 4(4p+f)+b
//     high     third or fifth bit: bit s of byte b of lane r = column 4s+b
//              fifth and sixth bit: as 2 bits
// The value of a weight is d * (q - offset), d * q + m, d * scale * q - dmin * min, or d * table[q].
// clang-format on
//
// These functions are static on purpose: files compiled for different instruction sets each get
// their own copy.
namespace spnl::mistralrs::cpu {

enum class Storage {
  kF32,
  kF16,
  kBF16,
  kQ4Sym,
  kQ4Asym,
  kQ4K,
  kQ5Sym,
  kQ5Asym,
  kQ5K,
  kQ6K,
  kQ8,
  kQ2K,
  kQ3K,
  kTable,   ///< IQ4_NL: quants are indices of kIq4Values
  kTableK,  ///< IQ4_XS: the same with a 6-bit scale a group
  kFp4,     ///< MXFP4: indices of kFp4Values
};
constexpr int kStorages = 16;
constexpr int kGroup = 32;      ///< columns that share an activation scale
constexpr int kMaxTokens = 16;  ///< rows of x in one tile

/// A group whose scale exceeds this many times the mean of its row's is an outlier group: see
/// matmul. Of SmolLM2-135M's groups 3.1% exceed it, 7.6% exceed 2; the mean KL divergence from
/// float32 is 0.0012 to 0.0016 with 3, 0.0009 to 0.0012 with 2, for twice the extra work.
constexpr float kOutlierRatio = 3.0f;

constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};
/// Doubled E2M1 numbers; the scale is halved.
constexpr int8_t kFp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static constexpr bool is_float(Storage s) { return s <= Storage::kBF16; }
/// K-quants whose minimum is subtracted.
static constexpr bool has_k_min(Storage s) {
  return s == Storage::kQ4K || s == Storage::kQ5K || s == Storage::kQ2K;
}
/// Blocks of 256 columns with a common d.
static constexpr bool is_k(Storage s) {
  return has_k_min(s) || s == Storage::kQ6K || s == Storage::kQ3K || s == Storage::kTableK;
}
/// Two scales a group, for 16 columns each.
static constexpr bool has_half_scales(Storage s) {
  return s == Storage::kQ6K || s == Storage::kQ3K || s == Storage::kQ2K;
}
static constexpr bool is_table(Storage s) {
  return s == Storage::kTable || s == Storage::kTableK || s == Storage::kFp4;
}
static constexpr bool has_min(Storage s) {
  return has_k_min(s) || s == Storage::kQ4Asym || s == Storage::kQ5Asym;
}
/// Minimums that are multiplied with sums of x for all groups of a unit at once.
static constexpr bool has_unit_minimums(Storage s) {
  return s == Storage::kQ4K || s == Storage::kQ5K;
}
static constexpr int float_bytes(Storage s) { return s == Storage::kF32 ? 4 : 2; }
static constexpr int quant_bits(Storage s) {
  switch (s) {
    case Storage::kQ2K:
      return 2;
    case Storage::kQ3K:
      return 3;
    case Storage::kQ5Sym:
    case Storage::kQ5Asym:
    case Storage::kQ5K:
      return 5;
    case Storage::kQ6K:
      return 6;
    case Storage::kQ8:
      return 8;
    default:
      return 4;
  }
}
/// What unsigned quants are above the signed numbers that they stand for.
static constexpr int quant_offset(Storage s) {
  return has_min(s) ? 0 : is_table(s) ? 128 : 1 << (quant_bits(s) - 1);
}
/// The offset whose product with a sum of q is held for weights of `s`: shifted where it differs.
static constexpr int stored_offset(Storage s) { return has_half_scales(s) ? 32 : 128; }
static constexpr int unit_columns(Storage s) { return is_float(s) ? 1 : is_k(s) ? 256 : kGroup; }
static constexpr int header_bytes(Storage s, int lanes) {
  return !is_k(s) ? 0 : has_k_min(s) ? 4 * lanes : 2 * lanes;
}
static constexpr int scale_bytes(Storage s, int lanes) {
  if (s == Storage::kTableK) return lanes;
  return !is_k(s) && has_min(s) ? 4 * lanes : 2 * lanes;
}
static constexpr int low_bytes(Storage s, int lanes) {
  return (quant_bits(s) == 8 ? 32 : quant_bits(s) < 4 ? 8 : 16) * lanes;
}
static constexpr int high_bytes(Storage s, int lanes) {
  const int bits = quant_bits(s);
  return (bits == 3 || bits == 5 ? 4 : bits == 6 ? 8 : 0) * lanes;
}
static constexpr int group_bytes(Storage s, int lanes) {
  return scale_bytes(s, lanes) + low_bytes(s, lanes) + high_bytes(s, lanes);
}
static constexpr int unit_bytes(Storage s, int lanes) {
  return is_float(s) ? float_bytes(s) * lanes
                     : header_bytes(s, lanes) + unit_columns(s) / kGroup * group_bytes(s, lanes);
}

// Activations: tiles of up to kMaxTokens rows. Of a tile of `width` rows, each group of 32 columns
// is i8 q[width][32], f32 d[width], f32 ds[width] (d * sum of q), i32 offset128[width] (-128 * sum
// of q), i32 offset32[2][width] (-32 * sum of the q of 16 columns), i32 minimums[width]; for float
// weights each column is f32 x[width]. The minimums of 8 groups, where an output has unit minimums,
// are their ds as integers of 16 bits times a common scale: two in each of the first four groups,
// and the scale as f32 in the fifth. The residual plane of a tile has such a group, of the rows
// that need it, for each of its outlier groups, one after the other: see matmul.
constexpr int kActGroupBytes = kGroup + 6 * 4;  ///< per row

/// A group of columns whose scale is far above the others of some rows of a tile.
struct OutlierGroup {
  int32_t group;
  int32_t count;             ///< of those rows
  uint8_t rows[kMaxTokens];  ///< [count] which of the tile, ascending
};

}  // namespace spnl::mistralrs::cpu
