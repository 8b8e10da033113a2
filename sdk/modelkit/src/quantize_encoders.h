#pragma once
/// Block encoders behind quantize_row(): one block of finite floats to its bytes.
#include <cstdint>

#include "spnl/modelkit/tensor_type.h"

namespace spnl::modelkit::quantize {

/// `x`: the block's elements, |x| <= kLargestValue. `importance`: as many, or null.
using Encoder = void (*)(const float* x, const float* importance, uint8_t* out);

/// Far beyond what any format can express, and small enough for sums of cubes in float32.
inline constexpr float kLargestValue = 1e8f;

Encoder small_block_encoder(TensorType type);  ///< blocks of 32; null for other types
Encoder k_block_encoder(TensorType type);      ///< blocks of 256; null for other types

inline void put16(uint8_t* out, uint16_t value) {
  out[0] = static_cast<uint8_t>(value);
  out[1] = static_cast<uint8_t>(value >> 8);
}

}  // namespace spnl::modelkit::quantize
