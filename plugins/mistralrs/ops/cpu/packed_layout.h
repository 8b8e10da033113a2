#pragma once
#include <cstdint>

// How packed weights and quantised activations lie in memory: shared by the packer and the kernels.
//
// Weights: panels of `lanes` rows, one row a 32-bit lane of the vectors of the instruction set. A
// panel is a sequence of units; a unit holds 32 columns (256 for K-quants, 1 for float types):
//   header     K-quants: d[lanes] f16, dmin[lanes] f16 (Q6_K: d only)
//   groups of 32 columns, each
//     scales   symmetric: d f16; asymmetric: d f16, m f16; K: scale u8, min u8; Q6_K: two i8 (16
//     columns each) low      4 bits: byte b of lane r of vector j = column 4j+b in the low, column
//     4(j+4)+b in the high half
//              8 bits: byte b of lane r of vector j = column 4j+b
//     high     fifth bit: bit s of byte b of lane r = column 4s+b; 2 bits: field f of byte b of
//     vector p =
//              column 4(4p+f)+b
// The value of a weight is d * (q - offset), d * q + m, or d * scale * q - dmin * min.
//
// These functions are static on purpose: files compiled for different instruction sets each get
// their own copy.
namespace spnl::mistralrs::cpu {

enum class Storage { kF32, kF16, kBF16, kQ4Sym, kQ4Asym, kQ4K, kQ5Sym, kQ5Asym, kQ5K, kQ6K, kQ8 };
constexpr int kStorages = 11;
constexpr int kGroup = 32;      ///< columns that share an activation scale
constexpr int kMaxTokens = 16;  ///< rows of x in one tile
constexpr int kMaxLanes = 16;

static constexpr bool is_float(Storage s) { return s <= Storage::kBF16; }
static constexpr bool is_k(Storage s) {
  return s == Storage::kQ4K || s == Storage::kQ5K || s == Storage::kQ6K;
}
static constexpr int float_bytes(Storage s) { return s == Storage::kF32 ? 4 : 2; }
static constexpr int quant_bits(Storage s) {
  switch (s) {
    case Storage::kQ4Sym:
    case Storage::kQ4Asym:
    case Storage::kQ4K:
      return 4;
    case Storage::kQ5Sym:
    case Storage::kQ5Asym:
    case Storage::kQ5K:
      return 5;
    case Storage::kQ6K:
      return 6;
    default:
      return 8;
  }
}
static constexpr int unit_columns(Storage s) { return is_float(s) ? 1 : is_k(s) ? 256 : kGroup; }
static constexpr int header_bytes(Storage s, int lanes) {
  return !is_k(s) ? 0 : s == Storage::kQ6K ? 2 * lanes : 4 * lanes;
}
static constexpr int scale_bytes(Storage s, int lanes) {
  return s == Storage::kQ4Asym || s == Storage::kQ5Asym ? 4 * lanes : 2 * lanes;
}
static constexpr int low_bytes(Storage s, int lanes) {
  return (quant_bits(s) == 8 ? 32 : 16) * lanes;
}
static constexpr int group_bytes(Storage s, int lanes) {
  const int high = quant_bits(s) == 5 ? 4 : quant_bits(s) == 6 ? 8 : 0;
  return scale_bytes(s, lanes) + low_bytes(s, lanes) + high * lanes;
}
static constexpr int unit_bytes(Storage s, int lanes) {
  return is_float(s) ? float_bytes(s) * lanes
                     : header_bytes(s, lanes) + unit_columns(s) / kGroup * group_bytes(s, lanes);
}

// Activations: tiles of up to kMaxTokens rows. Of a tile of `width` rows, each group of 32 columns
// is
//   i8 q[width][32], f32 d[width], f32 ds[width] (d * sum of q), i32 negsum[width], i32
//   negsum16[2][width]
// and for float weights each column is f32 x[width].
constexpr int kActGroupBytes = kGroup + 5 * 4;  ///< per row

}  // namespace spnl::mistralrs::cpu
