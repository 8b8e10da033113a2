#pragma once
#include <algorithm>
#include <cstdint>
#include <span>

#include "ops/cpu/kernel_table.h"
#include "ops/cpu/packed_matrix.h"

// The inputs of matmul in the forms that kernels read.
namespace spnl::mistralrs::cpu {

/// The rows of x in tiles of nearly equal width.
struct Tiling {
  explicit Tiling(int64_t rows) : m(rows), tiles((rows + kMaxTokens - 1) / kMaxTokens) {}
  int64_t first(int64_t tile) const { return tile * (m / tiles) + std::min(tile, m % tiles); }
  int width(int64_t tile) const { return static_cast<int>(first(tile + 1) - first(tile)); }
  int64_t tile_of(int64_t row) const {
    const int64_t width = m / tiles, wide = m % tiles;  // the first `wide` tiles have one row more
    return row < wide * (width + 1) ? row / (width + 1) : wide + (row - wide * (width + 1)) / width;
  }
  int64_t m, tiles;
};

/// One input and its forms, in memory of the caller: see packed_layout.h. A plane is null where no
/// output of the input needs it. Tiles begin where they would if each row had a share of its own,
/// in the residual plane too, where few groups are used.
struct Activations {
  Activations(const MatmulGroup& group, int64_t columns)
      : source(&group), tiling(group.m), cols(columns), groups(columns / kGroup) {}

  const MatmulGroup* source;
  Tiling tiling;
  int64_t cols, groups;
  bool wants_quantised = false, wants_minimums = false, wants_floats = false;
  float* gathered = nullptr;  ///< [m, cols], where rows or columns are picked
  uint8_t* quantised = nullptr;
  uint8_t* residual = nullptr;
  OutlierGroup* outliers = nullptr;   ///< [tiles][groups]
  int32_t* outlier_counts = nullptr;  ///< [tiles]
  float* floats = nullptr;

  int64_t bytes(int64_t rows) const { return rows * groups * kActGroupBytes; }
  int64_t outlier_bytes() const {
    return tiling.tiles * groups * static_cast<int64_t>(sizeof(OutlierGroup));
  }
  int64_t count_bytes() const { return tiling.tiles * static_cast<int64_t>(sizeof(int32_t)); }
  int64_t float_bytes() const { return tiling.m * cols * int64_t{sizeof(float)}; }
  OutlierGroup* outliers_of(int64_t tile) const { return outliers + tile * groups; }
  bool picks() const { return source->rows != nullptr || source->columns != nullptr; }
};

/// Fills the planes of all inputs: by this thread, or by the team.
void prepare(const KernelTable& table, std::span<const Activations> inputs);
void prepare(ThreadTeam& team, const KernelTable& table, std::span<const Activations> inputs);

}  // namespace spnl::mistralrs::cpu
