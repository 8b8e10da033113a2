#pragma once
#include <cstdint>

#include "spnl/modelkit/tensor_type.h"

namespace spnl::modelkit {

/// Plain decoding of tensor data to float32: the definition that every faster kernel is compared with.
/// `elements` is a multiple of the type's block size; `source` holds tensor_bytes(type, elements) bytes, any
/// alignment. Throws Error(kUnsupported) for a type whose can_dequantize is false. Thread-safe.
void dequantize_row(TensorType type, const void* source, uint64_t elements, float* out);

float half_to_float(uint16_t half);        ///< IEEE binary16
uint16_t float_to_half(float value);       ///< round to nearest even
float bfloat16_to_float(uint16_t value);
uint16_t float_to_bfloat16(float value);   ///< round to nearest even
float float8_e4m3_to_float(uint8_t value);  ///< E4M3 without infinities (OCP 8-bit floats): 0x7F and 0xFF are NaN

}  // namespace spnl::modelkit
