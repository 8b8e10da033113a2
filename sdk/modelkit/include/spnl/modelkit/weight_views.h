#pragma once
#include <string>
#include <vector>

#include "spnl/modelkit/weight.h"

/// Weights made of other weights, row by row when they are read. All may be nested, and keep what
/// they are made of alive as far as Weight itself does. Where memory of a file can be shown as it
/// lies, it is.
namespace spnl::modelkit {

/// [columns][rows]. Types of one element a block keep their type, all others become F32.
Weight transposed(const Weight& weight);

/// Rows first, first + step, first + 2 * step, ... of `weight`, `count` of them.
Weight strided_rows(const Weight& weight, uint64_t first, uint64_t step, uint64_t count);

/// Elements first, first + step, ... of a vector, whose type has blocks of one element.
Weight strided_elements(const Weight& weight, uint64_t first, uint64_t step, uint64_t count);

/// The rows of all parts, one after the other. Parts of different types, or with different input
/// orders, become F32 in the usual order. Throws Error(kCorrupt) when their columns differ.
Weight joined_rows(const std::vector<Weight>& parts, const std::string& name);

/// Row i is row rows[i] of `weight`; columns are in the model's order.
Weight picked_rows(const Weight& weight, std::vector<uint32_t> rows);

/// One row of numbers of its own.
Weight own_vector(std::string name, std::vector<float> values);

/// Every value multiplied by `factor`: F32. For NVFP4 with its scale of the whole tensor.
Weight scaled(const Weight& weight, float factor);

/// Hugging Face's MXFP4 (gpt_oss): `blocks` U8 [.., rows, columns / 32, 16] with neighbours in one
/// byte and `scales` U8
/// [.., rows, columns / 32], as blocks of TensorType::kMXFP4; rows of all outer dimensions one
/// after the other. Throws Error(kCorrupt) when the two do not fit together.
Weight mxfp4_rows(const Tensor& blocks, const Tensor& scales);

}  // namespace spnl::modelkit
