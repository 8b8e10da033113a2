#pragma once
#include <cstdint>

#include "spnl/modelkit/tensor_type.h"
#include "spnl/modelkit/weight.h"

namespace spnl::modelkit {

/// Whether quantize_row() makes this type.
bool can_quantize(TensorType type);

/// Writes `elements` (a multiple of the type's block_elements) floats as blocks of `type`,
/// tensor_bytes(type, elements) bytes, any alignment; scales are chosen for the least weighted
/// squared error. `importance`: how much an error of each element matters, [elements], or null: all
/// alike. Never writes a scale that is not finite: in quantised types a NaN counts as 0 and what is
/// too large as the largest. Same bytes on every call. Thread-safe. Throws Error(kUnsupported) for
/// a type that cannot be made.
void quantize_row(TensorType type, const float* values, uint64_t elements, void* out,
                  const float* importance = nullptr);

/// `type`, or the next best one whose blocks rows of `columns` elements fill.
TensorType type_for_rows(TensorType type, uint64_t columns);

/// `weight` in blocks of `type`, whose blocks its rows must fill: quantised row by row each time
/// rows are read, so that the floats are never in memory as a whole. Pages of a mapped file that
/// were read are given back.
Weight quantized(const Weight& weight, TensorType type);

}  // namespace spnl::modelkit
