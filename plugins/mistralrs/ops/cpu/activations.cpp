#include "ops/cpu/activations.h"

#include <atomic>

#include "ops/cpu/for_each_row.h"

namespace spnl::mistralrs::cpu {
namespace {

/// Row `row` of the input as its outputs want it: [cols].
const float* row_of(const Activations& a, int64_t row) {
  if (a.gathered != nullptr) return a.gathered + row * a.cols;
  return a.source->x + row * a.source->ldx;
}

/// Finds the rows of a tile that are outliers in group `g`: those whose scale exceeds their limit.
OutlierGroup outliers_of_group(int64_t g, const float* scales, const float* limit, int width) {
  OutlierGroup found{static_cast<int32_t>(g), 0, {}};
  for (int row = 0; row < width; ++row)
    if (scales[row] > limit[row]) found.rows[found.count++] = static_cast<uint8_t>(row);
  return found;
}

/// Writes the residual plane of one tile whose int8 form is done.
void quantise_outliers(const KernelTable& table, const Activations& a, int64_t t) {
  const int64_t first = a.tiling.first(t);
  const int width = a.tiling.width(t);
  const uint8_t* tile = a.quantised + a.bytes(first);
  uint8_t* residual = a.residual + a.bytes(first);
  const int64_t step = int64_t{width} * kActGroupBytes;
  const auto scales = [&](int64_t g) {
    return reinterpret_cast<const float*>(tile + g * step + kGroup * width);
  };
  float limit[kMaxTokens] = {};
  for (int64_t g = 0; g < a.groups; ++g) {
    for (int row = 0; row < width; ++row) limit[row] += scales(g)[row];
  }
  // Rows that are all zero or not finite have none: no comparison with their limit is true.
  for (float& sum : limit) sum *= kOutlierRatio / static_cast<float>(a.groups);
  OutlierGroup* outliers = a.outliers_of(t);
  int32_t count = 0;
  for (int64_t g = 0; g < a.groups; ++g) {
    const OutlierGroup found = outliers_of_group(g, scales(g), limit, width);
    if (found.count == 0) continue;
    for (int i = 0; i < found.count; ++i) {
      const int row = found.rows[i];
      table.quantize_residual(row_of(a, first + row) + g * kGroup, tile + g * step, width, row,
                              residual, found.count, i);
    }
    residual += int64_t{found.count} * kActGroupBytes;
    outliers[count++] = found;
  }
  a.outlier_counts[t] = count;
}

void gather(const Activations& a, int64_t row, int64_t first, int64_t last) {
  const MatmulGroup& source = *a.source;
  const float* from = source.x + (source.rows != nullptr ? source.rows[row] : row) * source.ldx;
  float* to = a.gathered + row * a.cols;
  if (source.columns == nullptr) {
    std::copy(from + first, from + last, to + first);
    return;
  }
  for (int64_t c = first; c < last; ++c) to[c] = from[source.columns[c]];
}

/// Columns first .. last - 1 of a row, in whole groups where it is quantised, and in groups of 8
/// where those have minimums.
void prepare_row(const KernelTable& table, const Activations& a, int64_t row, int64_t first,
                 int64_t last) {
  const int64_t tile = a.tiling.tile_of(row), first_row = a.tiling.first(tile);
  const int width = a.tiling.width(tile), in_tile = static_cast<int>(row - first_row);
  if (a.gathered != nullptr) gather(a, row, first, last);
  const float* x = row_of(a, row);
  if (a.quantised != nullptr) {
    const int64_t groups = (last - first) / kGroup;
    uint8_t* out =
        a.quantised + a.bytes(first_row) + first / kGroup * width * int64_t{kActGroupBytes};
    table.quantize(x + first, groups, out, width, in_tile);
    if (a.wants_minimums) table.quantize_minimums(groups, out, width, in_tile);
  }
  if (a.floats == nullptr) return;
  float* out = a.floats + first_row * a.cols + in_tile;
  for (int64_t k = first; k < last; ++k) out[k * width] = x[k];
}

/// One tile, shared out by columns: threads that write to the same groups would wait for each
/// other's lines of the cache.
void prepare_columns(ThreadTeam& team, const KernelTable& table, const Activations& a) {
  team.run([&](int worker) {
    const ColumnShare columns(a.cols, worker, team.size());
    for (int64_t row = 0; row < a.tiling.m; ++row)
      prepare_row(table, a, row, columns.first, columns.last);
  });
  if (a.quantised != nullptr) quantise_outliers(table, a, 0);
}

void prepare_tile(const KernelTable& table, const Activations& a, int64_t tile) {
  for (int64_t row = a.tiling.first(tile); row < a.tiling.first(tile + 1); ++row)
    prepare_row(table, a, row, 0, a.cols);
  if (a.quantised != nullptr) quantise_outliers(table, a, tile);
}

}  // namespace

void prepare(const KernelTable& table, std::span<const Activations> inputs) {
  for (const Activations& a : inputs) {
    for (int64_t tile = 0; tile < a.tiling.tiles; ++tile) prepare_tile(table, a, tile);
  }
}

void prepare(ThreadTeam& team, const KernelTable& table, std::span<const Activations> inputs) {
  if (inputs.size() == 1 && inputs.front().tiling.tiles == 1)
    return prepare_columns(team, table, inputs.front());
  std::atomic<int64_t> next{0};
  team.run([&](int) {
    int64_t item = next.fetch_add(1, std::memory_order_relaxed);
    int64_t base = 0;  // tiles of the inputs before this one
    for (const Activations& a : inputs) {
      const int64_t end = base + a.tiling.tiles;
      for (; item < end; item = next.fetch_add(1, std::memory_order_relaxed))
        prepare_tile(table, a, item - base);
      base = end;
    }
  });
}

}  // namespace spnl::mistralrs::cpu
