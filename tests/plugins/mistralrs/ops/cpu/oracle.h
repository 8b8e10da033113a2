#pragma once
#include <cstdint>
#include <random>
#include <vector>

#include "spnl/modelkit/tensor_type.h"

// Random tensors and their decoding in double precision, written from the format's description: an
// oracle that shares no code with what it checks.
namespace spnl::test {

double half_value(uint16_t bits);

struct Blocks {
  int elements, bytes;  ///< of one block
};
Blocks blocks_of(modelkit::TensorType type);

/// Random blocks with scales of ordinary size (0.004 .. 0.2) and all quant values.
std::vector<uint8_t> random_tensor(modelkit::TensorType type, int64_t elements,
                                   std::mt19937& random);
std::vector<double> decode(modelkit::TensorType type, const std::vector<uint8_t>& data,
                           int64_t elements);

std::vector<float> random_floats(size_t n, float limit, std::mt19937& random);

}  // namespace spnl::test
