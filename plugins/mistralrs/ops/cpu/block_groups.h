#pragma once
#include <cstdint>
#include <optional>

#include "ops/cpu/packed_layout.h"
#include "spnl/modelkit/tensor_type.h"

// Reading the blocks of GGUF tensors group by group: the first half of packing.
namespace spnl::mistralrs::cpu {

struct BlockFormat {
  Storage storage;
  int block_elements, block_bytes;
};
/// Empty: no kernel for the type.
std::optional<BlockFormat> block_format(modelkit::TensorType type);

/// 32 columns of one row, as unsigned quants.
struct Group {
  uint8_t q[kGroup];
  uint8_t scale[4];  ///< the group's scales as packed_layout.h has them
};

/// Group j of a block of a quantised type.
void unpack_group(modelkit::TensorType type, const uint8_t* block, int j, Group& group);
/// Where d (and then dmin) of a block of a K-quant is.
int header_offset(modelkit::TensorType type);

}  // namespace spnl::mistralrs::cpu
