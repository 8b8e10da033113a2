#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

#include "ops/cpu/kernel_table.h"
#include "ops/cpu/packed_matrix.h"

namespace spnl::mistralrs::cpu {

struct PackedMatrix::Impl {
  Isa isa = Isa::kScalar;
  modelkit::TensorType type = modelkit::TensorType::kF32;
  Storage storage = Storage::kF32;
  int64_t rows = 0, cols = 0;
  int64_t lanes = 1, panels = 0, units = 0, panel_bytes = 0;
  uint64_t bytes = 0;
  std::shared_ptr<uint8_t> data;
  /// Rows of a type without a kernel (storage is then kF32, of decoded panels): in `data` or in the
  /// file. Null: `data` holds panels.
  const std::byte* raw = nullptr;
  int64_t raw_row_bytes = 0;
};

}  // namespace spnl::mistralrs::cpu
