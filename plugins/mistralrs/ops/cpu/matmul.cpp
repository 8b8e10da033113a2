#include <algorithm>
#include <atomic>

#include "ops/cpu/packed_matrix_impl.h"

namespace spnl::mistralrs::cpu {

struct MatmulScratch::Impl {
  AlignedBytes quantised, residual, outliers, floats;
  uint64_t quantised_size = 0, residual_size = 0, outliers_size = 0, floats_size = 0;
};

MatmulScratch::MatmulScratch() : impl_(std::make_unique<Impl>()) {}
MatmulScratch::~MatmulScratch() = default;

namespace {

uint8_t* grow(AlignedBytes& buffer, uint64_t& size, uint64_t need) {
  if (size < need) {
    buffer.reset();
    size = 0;
    buffer = allocate_aligned(need);
    size = need;
  }
  return buffer.get();
}

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

/// The forms of x that kernels read: see packed_layout.h. Tiles begin where they would if each row
/// had a share of its own, in the residual plane too, where few groups are used.
struct Activations {
  int64_t groups;
  uint8_t* quantised = nullptr;
  uint8_t* residual = nullptr;
  int32_t* outliers = nullptr;  ///< a tile each: how many groups, then which
  uint8_t* floats = nullptr;

  int64_t bytes(int64_t rows) const { return rows * groups * kActGroupBytes; }
  int32_t* outliers_of(int64_t tile) const { return outliers + tile * (groups + 1); }
};

/// work(first row of the tile, its width, row in it) for all rows; few are not worth waking the
/// team.
template <class Do>
void for_each_row(ThreadTeam& team, const Tiling& tiling, int64_t cols, const Do& work) {
  // Rows of one tile share cache lines: threads get whole tiles where there are several.
  const int64_t worth_sharing = tiling.tiles > 1 ? 8192 : 65536;
  const int64_t chunk = tiling.tiles > 1 ? kMaxTokens : 4;
  const auto do_row = [&](int64_t row) {
    const int64_t tile = tiling.tile_of(row), first = tiling.first(tile);
    work(first, tiling.width(tile), static_cast<int>(row - first));
  };
  if (tiling.m <= chunk || tiling.m * cols < worth_sharing) {
    for (int64_t row = 0; row < tiling.m; ++row) do_row(row);
    return;
  }
  std::atomic<int64_t> next{0};
  team.run([&](int) {
    for (int64_t row; (row = next.fetch_add(chunk, std::memory_order_relaxed)) < tiling.m;) {
      for (int64_t r = row; r < std::min(row + chunk, tiling.m); ++r) do_row(r);
    }
  });
}

/// Writes the residual plane of one tile whose int8 form is done. A row that has no outlier in a
/// listed group gets zeros there, which change none of its sums: the list is the tile's, the result
/// only the row's.
void quantise_outliers(const KernelTable& table, const float* x, int64_t ldx, int width,
                       int64_t groups, const uint8_t* tile, uint8_t* residual, int32_t* outliers) {
  const int64_t step = int64_t{width} * kActGroupBytes;
  const auto scales = [&](int64_t g) {
    return reinterpret_cast<const float*>(tile + g * step + kGroup * width);
  };
  float limit[kMaxTokens] = {};
  for (int64_t g = 0; g < groups; ++g) {
    for (int row = 0; row < width; ++row) limit[row] += scales(g)[row];
  }
  // Rows that are all zero or not finite have none: no comparison with their limit is true.
  for (float& sum : limit) sum *= kOutlierRatio / static_cast<float>(groups);
  int32_t count = 0;
  for (int64_t g = 0; g < groups; ++g) {
    const float* d = scales(g);
    bool listed = false;
    for (int row = 0; row < width; ++row) {
      if (!(d[row] > limit[row])) continue;
      if (!listed) std::fill_n(residual, step, uint8_t{0});
      listed = true;
      table.quantize_residual(x + row * ldx + g * kGroup, tile + g * step, residual, width, row);
    }
    if (!listed) continue;
    outliers[++count] = static_cast<int32_t>(g);
    residual += step;
  }
  outliers[0] = count;
}

void quantise(ThreadTeam& team, const KernelTable& table, const Tiling& tiling, const float* x,
              int64_t ldx, const Activations& out) {
  for_each_row(team, tiling, out.groups * kGroup, [&](int64_t first, int width, int row) {
    table.quantize(x + (first + row) * ldx, out.groups, out.quantised + out.bytes(first), width,
                   row);
  });
  const auto do_tile = [&](int64_t t) {
    const int64_t first = tiling.first(t);
    quantise_outliers(table, x + first * ldx, ldx, tiling.width(t), out.groups,
                      out.quantised + out.bytes(first), out.residual + out.bytes(first),
                      out.outliers_of(t));
  };
  if (tiling.tiles == 1) return do_tile(0);
  std::atomic<int64_t> next{0};
  team.run([&](int) {
    for (int64_t t; (t = next.fetch_add(1, std::memory_order_relaxed)) < tiling.tiles;) do_tile(t);
  });
}

void interleave(ThreadTeam& team, const Tiling& tiling, const float* x, int64_t ldx, int64_t cols,
                float* out) {
  for_each_row(team, tiling, cols, [&](int64_t first, int width, int row) {
    float* tile = out + first * cols + row;
    const float* from = x + (first + row) * ldx;
    for (int64_t k = 0; k < cols; ++k) tile[k * width] = from[k];
  });
}

/// How the product with one matrix is cut into items of work: a block of panels times some tiles.
struct Plan {
  Plan(const PackedMatrix::Impl& w, const Tiling& tiling, int threads) {
    constexpr int64_t kCacheBytes = 256 << 10;  // of weights, kept in L2 while tiles of x go by
    panels_per_item = std::clamp<int64_t>(w.panels / (threads * 8), 1,
                                          std::max<int64_t>(1, kCacheBytes / w.panel_bytes));
    panel_blocks = (w.panels + panels_per_item - 1) / panels_per_item;
    const int64_t cuts = std::max<int64_t>(1, threads * 8 / panel_blocks);
    tiles_per_item = (tiling.tiles + cuts - 1) / cuts;
    tile_blocks = (tiling.tiles + tiles_per_item - 1) / tiles_per_item;
  }
  int64_t items() const { return panel_blocks * tile_blocks; }
  int64_t panels_per_item, panel_blocks, tiles_per_item, tile_blocks;
};

void do_item(const KernelTable& table, const MatmulOutput& output, const Plan& plan,
             const Tiling& tiling, const Activations& x, int64_t item) {
  const PackedMatrix::Impl& w = output.weight->impl();
  const int64_t first_panel = item / plan.tile_blocks * plan.panels_per_item;
  const int64_t first_tile = item % plan.tile_blocks * plan.tiles_per_item;
  const int64_t first_row = first_panel * w.lanes;
  MatmulArgs args{};
  args.panels = w.data.get() + first_panel * w.panel_bytes;
  args.panel_bytes = w.panel_bytes;
  args.panel_count = std::min(plan.panels_per_item, w.panels - first_panel);
  args.units = w.units;
  args.rows = w.rows - first_row;
  args.ldy = output.ldy;
  args.bias = output.bias != nullptr ? output.bias + first_row : nullptr;
  args.accumulate = output.accumulate;
  const int64_t last_tile = std::min(first_tile + plan.tiles_per_item, tiling.tiles);
  for (int64_t t = first_tile; t < last_tile; ++t) {
    const int64_t first = tiling.first(t);
    if (is_float(w.storage)) {
      args.acts = x.floats + first * w.cols * 4;
    } else {
      args.acts = x.quantised + x.bytes(first);
      args.residual = x.residual + x.bytes(first);
      args.outliers = x.outliers_of(t) + 1;
      args.outlier_count = args.outliers[-1];
    }
    args.width = args.count = tiling.width(t);
    args.y = output.y + first * output.ldy + first_row;
    table.matmul[static_cast<int>(w.storage)](args);
  }
}

}  // namespace

void matmul(ThreadTeam& team, MatmulScratch& scratch, const float* x, int64_t ldx, int64_t m,
            std::span<const MatmulOutput> outputs) {
  if (m <= 0 || outputs.empty()) return;
  const PackedMatrix::Impl& shape = outputs.front().weight->impl();
  const KernelTable& table = kernels(shape.isa);
  const Tiling tiling(m);
  bool any_float = false, any_quantised = false;
  for (const MatmulOutput& o : outputs) {
    (is_float(o.weight->impl().storage) ? any_float : any_quantised) = true;
  }
  MatmulScratch::Impl& s = scratch.impl();
  Activations acts{shape.cols / kGroup};
  if (any_quantised) {
    const auto plane = static_cast<uint64_t>(acts.bytes(m));
    acts.quantised = grow(s.quantised, s.quantised_size, plane);
    acts.residual = grow(s.residual, s.residual_size, plane);
    acts.outliers = reinterpret_cast<int32_t*>(
        grow(s.outliers, s.outliers_size,
             static_cast<uint64_t>(tiling.tiles * (acts.groups + 1)) * sizeof(int32_t)));
    quantise(team, table, tiling, x, ldx, acts);
  }
  if (any_float) {
    uint8_t* f = grow(s.floats, s.floats_size, static_cast<uint64_t>(m * shape.cols * 4));
    interleave(team, tiling, x, ldx, shape.cols, reinterpret_cast<float*>(f));
    acts.floats = f;
  }

  std::atomic<int64_t> next{0};
  team.run([&](int) {
    int64_t item = next.fetch_add(1, std::memory_order_relaxed);
    int64_t base = 0;  // items of the outputs before this one
    for (const MatmulOutput& output : outputs) {
      const Plan plan(output.weight->impl(), tiling, team.size());
      const int64_t end = base + plan.items();
      for (; item < end; item = next.fetch_add(1, std::memory_order_relaxed)) {
        do_item(table, output, plan, tiling, acts, item - base);
      }
      base = end;
    }
  });
}

}  // namespace spnl::mistralrs::cpu
