#include <atomic>
#include <utility>
#include <vector>

#include "ops/cpu/activations.h"
#include "ops/cpu/packed_matrix_impl.h"
#include "spnl/modelkit/block_formats.h"

namespace spnl::mistralrs::cpu {

struct MatmulScratch::Impl {
  struct Buffer {
    AlignedBytes bytes;
    uint64_t size = 0;

    uint8_t* grow(uint64_t need) {
      if (size < need) {
        bytes.reset();
        size = 0;
        bytes = allocate_aligned(need);
        size = need;
      }
      return bytes.get();
    }
  };
  Buffer quantised, residual, outliers, floats, gathered;
  std::vector<Activations> inputs;
};

MatmulScratch::MatmulScratch() : impl_(std::make_unique<Impl>()) {}
MatmulScratch::~MatmulScratch() = default;

namespace {

/// Gives each input its planes, one after the other in the scratch memory.
std::span<const Activations> place(MatmulScratch::Impl& s, std::span<const MatmulGroup> groups) {
  s.inputs.clear();
  uint64_t quantised = 0, outliers = 0, floats = 0, gathered = 0;
  for (const MatmulGroup& group : groups) {
    if (group.m <= 0 || group.outputs.empty()) continue;
    Activations& a = s.inputs.emplace_back(group, group.outputs.front().weight->impl().cols);
    for (const MatmulOutput& o : group.outputs) {
      if (is_float(o.weight->impl().storage))
        a.wants_floats = true;
      else
        a.wants_quantised = true;
    }
    const auto elements = static_cast<uint64_t>(group.m * a.cols);
    if (a.wants_quantised) {
      quantised += static_cast<uint64_t>(a.bytes(group.m));
      outliers += static_cast<uint64_t>(a.tiling.tiles * (a.groups + 1));
    }
    if (a.wants_floats) floats += elements;
    if (a.picks()) gathered += elements;
  }
  uint8_t* next_quantised = s.quantised.grow(quantised);
  uint8_t* next_residual = s.residual.grow(quantised);
  auto* next_outliers = reinterpret_cast<int32_t*>(s.outliers.grow(outliers * sizeof(int32_t)));
  auto* next_floats = reinterpret_cast<float*>(s.floats.grow(floats * sizeof(float)));
  auto* next_gathered = reinterpret_cast<float*>(s.gathered.grow(gathered * sizeof(float)));
  for (Activations& a : s.inputs) {
    const int64_t elements = a.tiling.m * a.cols;
    if (a.wants_quantised) {
      a.quantised = std::exchange(next_quantised, next_quantised + a.bytes(a.tiling.m));
      a.residual = std::exchange(next_residual, next_residual + a.bytes(a.tiling.m));
      a.outliers = std::exchange(next_outliers, next_outliers + a.tiling.tiles * (a.groups + 1));
    }
    if (a.wants_floats) a.floats = std::exchange(next_floats, next_floats + elements);
    if (a.picks()) a.gathered = std::exchange(next_gathered, next_gathered + elements);
  }
  return s.inputs;
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

/// Panel `panel` of a matrix without a kernel, as float32: [cols][lanes]. The memory is the
/// thread's, valid until its next call.
const uint8_t* decode_panel(const PackedMatrix::Impl& w, int64_t panel) {
  static thread_local std::vector<float> out, row;
  const auto cols = static_cast<size_t>(w.cols), lanes = static_cast<size_t>(w.lanes);
  out.resize(cols * lanes);
  row.resize(cols);
  const int64_t first = panel * w.lanes, count = std::min(w.lanes, w.rows - first);
  for (int64_t r = 0; r < count; ++r) {
    modelkit::dequantize_row(w.type, w.raw + (first + r) * w.raw_row_bytes, cols, row.data());
    for (size_t c = 0; c < cols; ++c) out[c * lanes + static_cast<size_t>(r)] = row[c];
  }
  return reinterpret_cast<const uint8_t*>(out.data());
}

/// Panels (args) times tiles first..last-1 of x.
void multiply(const KernelTable& table, const MatmulOutput& output, const Activations& x,
              int64_t first_row, int64_t first_tile, int64_t last_tile, MatmulArgs args) {
  const Storage storage = output.weight->impl().storage;
  args.rows = output.weight->impl().rows - first_row;
  args.ldy = output.ldy;
  args.bias = output.bias != nullptr ? output.bias + first_row : nullptr;
  args.accumulate = output.accumulate;
  for (int64_t t = first_tile; t < last_tile; ++t) {
    const int64_t first = x.tiling.first(t);
    if (is_float(storage)) {
      args.acts = reinterpret_cast<const uint8_t*>(x.floats + first * x.cols);
    } else {
      args.acts = x.quantised + x.bytes(first);
      args.residual = x.residual + x.bytes(first);
      args.outliers = x.outliers_of(t) + 1;
      args.outlier_count = args.outliers[-1];
    }
    args.width = args.count = x.tiling.width(t);
    args.y = output.y + first * output.ldy + first_row;
    table.matmul[static_cast<int>(storage)](args);
  }
}

void do_item(const KernelTable& table, const MatmulOutput& output, const Plan& plan,
             const Activations& x, int64_t item) {
  const PackedMatrix::Impl& w = output.weight->impl();
  const int64_t first_panel = item / plan.tile_blocks * plan.panels_per_item;
  const int64_t first_tile = item % plan.tile_blocks * plan.tiles_per_item;
  const int64_t last_tile = std::min(first_tile + plan.tiles_per_item, x.tiling.tiles);
  const int64_t panels = std::min(plan.panels_per_item, w.panels - first_panel);
  MatmulArgs args{};
  args.panel_bytes = w.panel_bytes;
  args.units = w.units;
  if (w.raw == nullptr) {
    args.panels = w.data.get() + first_panel * w.panel_bytes;
    args.panel_count = panels;
    multiply(table, output, x, first_panel * w.lanes, first_tile, last_tile, args);
    return;
  }
  args.panel_count = 1;
  for (int64_t p = first_panel; p < first_panel + panels; ++p) {
    args.panels = decode_panel(w, p);
    multiply(table, output, x, p * w.lanes, first_tile, last_tile, args);
  }
}

}  // namespace

void matmul(ThreadTeam& team, MatmulScratch& scratch, std::span<const MatmulGroup> groups) {
  const std::span<const Activations> inputs = place(scratch.impl(), groups);
  if (inputs.empty()) return;
  const KernelTable& table = kernels(inputs.front().source->outputs.front().weight->impl().isa);
  prepare(team, table, inputs);
  std::atomic<int64_t> next{0};
  team.run([&](int) {
    int64_t item = next.fetch_add(1, std::memory_order_relaxed);
    int64_t base = 0;  // items of the outputs before this one
    for (const Activations& x : inputs) {
      for (const MatmulOutput& output : x.source->outputs) {
        const Plan plan(output.weight->impl(), x.tiling, team.size());
        const int64_t end = base + plan.items();
        for (; item < end; item = next.fetch_add(1, std::memory_order_relaxed))
          do_item(table, output, plan, x, item - base);
        base = end;
      }
    }
  });
}

void matmul(ThreadTeam& team, MatmulScratch& scratch, const float* x, int64_t ldx, int64_t m,
            std::span<const MatmulOutput> outputs) {
  const MatmulGroup group[] = {{x, ldx, m, outputs}};
  matmul(team, scratch, group);
}

}  // namespace spnl::mistralrs::cpu
