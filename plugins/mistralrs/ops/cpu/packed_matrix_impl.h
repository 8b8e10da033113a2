#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "ops/cpu/kernel_table.h"
#include "ops/cpu/packed_matrix.h"

namespace spnl::mistralrs::cpu {

struct FreeDeleter {
  void operator()(uint8_t* p) const noexcept { std::free(p); }
};
using AlignedBytes = std::unique_ptr<uint8_t, FreeDeleter>;

/// 64-byte aligned, large ones on huge pages where the system allows. Throws
/// modelkit::Error(kNoMemory).
AlignedBytes allocate_aligned(uint64_t bytes);

struct PackedMatrix::Impl {
  Isa isa = Isa::kScalar;
  modelkit::TensorType type = modelkit::TensorType::kF32;
  Storage storage = Storage::kF32;
  int64_t rows = 0, cols = 0;
  int64_t lanes = 1, panels = 0, units = 0, panel_bytes = 0;
  uint64_t bytes = 0;
  AlignedBytes data;
  /// Rows of a type without a kernel (storage is then kF32, of decoded panels): in `data` or in the
  /// file. Null: `data` holds panels.
  const std::byte* raw = nullptr;
  int64_t raw_row_bytes = 0;
};

}  // namespace spnl::mistralrs::cpu
