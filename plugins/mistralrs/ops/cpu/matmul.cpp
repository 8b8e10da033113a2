#include <atomic>
#include <utility>
#include <vector>

#include "ops/cpu/activations.h"
#include "ops/cpu/packed_matrix_impl.h"
#include "spnl/modelkit/block_formats.h"

namespace spnl::mistralrs::cpu {

namespace {

/// How the product with one matrix is cut into items of work: a block of panels times some tiles.
struct Plan {
  /// `largest`: bytes of the largest matrix that the input is multiplied with. Items of a smaller
  /// one are about as large as its are.
  Plan(const PackedMatrix::Impl& w, int64_t largest, const Tiling& tiling, int threads) {
    constexpr int64_t kCacheBytes = 256 << 10;  // of weights, kept in L2 while tiles of x go by
    // For one row of x. Asking for an item costs as much as 2 KB of it, but few of one row's are.
    const int64_t least_bytes = tiling.m == 1 ? 8 << 10 : 32 << 10;
    const int64_t most = std::max<int64_t>(1, kCacheBytes / w.panel_bytes);
    const int64_t least = std::min(
        {least_bytes / tiling.m / w.panel_bytes + 1, (w.panels + threads - 1) / threads, most});
    panels_per_item = std::clamp<int64_t>(largest / w.panel_bytes / (threads * 8), least, most);
    panel_blocks = (w.panels + panels_per_item - 1) / panels_per_item;
    const int64_t cuts = std::max<int64_t>(1, threads * 8 / panel_blocks);
    tiles_per_item = (tiling.tiles + cuts - 1) / cuts;
    tile_blocks = (tiling.tiles + tiles_per_item - 1) / tiles_per_item;
  }
  int64_t items() const { return panel_blocks * tile_blocks; }
  int64_t panels_per_item, panel_blocks, tiles_per_item, tile_blocks;
};

}  // namespace

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
  Buffer quantised, residual, outliers, outlier_counts, floats, gathered;
  std::vector<Activations> inputs;
  std::vector<Plan> plans;  // of each output of each input
};

MatmulScratch::MatmulScratch() : impl_(std::make_unique<Impl>()) {}
MatmulScratch::~MatmulScratch() = default;

namespace {

/// A piece of scratch memory; no line of the cache holds parts of two.
int64_t whole_lines(int64_t bytes) { return (bytes + 63) / 64 * 64; }

/// The inputs of a call, `copies` times over, each with planes of its own in the scratch memory.
std::span<const Activations> place(MatmulScratch::Impl& s, std::span<const MatmulGroup> groups,
                                   int copies) {
  s.inputs.clear();
  uint64_t quantised = 0, outliers = 0, counts = 0, floats = 0, gathered = 0;
  const auto size = [](int64_t bytes) { return static_cast<uint64_t>(whole_lines(bytes)); };
  for (int copy = 0; copy < copies; ++copy) {
    for (const MatmulGroup& group : groups) {
      if (group.m <= 0 || group.outputs.empty()) continue;
      Activations& a = s.inputs.emplace_back(group, group.outputs.front().weight->impl().cols);
      for (const MatmulOutput& o : group.outputs) {
        const Storage storage = o.weight->impl().storage;
        (is_float(storage) ? a.wants_floats : a.wants_quantised) = true;
        if (has_unit_minimums(storage)) a.wants_minimums = true;
      }
      if (a.wants_quantised) {
        quantised += size(a.bytes(group.m));
        outliers += size(a.outlier_bytes());
        counts += size(a.count_bytes());
      }
      if (a.wants_floats) floats += size(a.float_bytes());
      if (a.picks()) gathered += size(a.float_bytes());
    }
  }
  uint8_t* next_quantised = s.quantised.grow(quantised);
  uint8_t* next_residual = s.residual.grow(quantised);
  uint8_t* next_outliers = s.outliers.grow(outliers);
  uint8_t* next_counts = s.outlier_counts.grow(counts);
  uint8_t* next_floats = s.floats.grow(floats);
  uint8_t* next_gathered = s.gathered.grow(gathered);
  const auto take = [](uint8_t*& next, int64_t bytes) {
    return std::exchange(next, next + whole_lines(bytes));
  };
  for (Activations& a : s.inputs) {
    if (a.wants_quantised) {
      a.quantised = take(next_quantised, a.bytes(a.tiling.m));
      a.residual = take(next_residual, a.bytes(a.tiling.m));
      a.outliers = reinterpret_cast<OutlierGroup*>(take(next_outliers, a.outlier_bytes()));
      a.outlier_counts = reinterpret_cast<int32_t*>(take(next_counts, a.count_bytes()));
    }
    if (a.wants_floats) a.floats = reinterpret_cast<float*>(take(next_floats, a.float_bytes()));
    if (a.picks()) a.gathered = reinterpret_cast<float*>(take(next_gathered, a.float_bytes()));
  }
  return s.inputs;
}

/// Elements up to which each thread makes its own forms of all inputs: that takes no longer than
/// one of them making them for all, and nobody waits or fetches them from another core.
bool few_elements(std::span<const MatmulGroup> groups) {
  constexpr int64_t kFew = 32768;
  int64_t elements = 0;
  for (const MatmulGroup& group : groups) {
    if (group.m > 0 && !group.outputs.empty())
      elements += group.m * group.outputs.front().weight->impl().cols;
  }
  return elements <= kFew;
}

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
      args.outliers = x.outliers_of(t);
      args.outlier_count = x.outlier_counts[t];
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
  const bool apart = few_elements(groups);
  const std::span<const Activations> all = place(scratch.impl(), groups, apart ? team.size() : 1);
  if (all.empty()) return;
  const size_t count = apart ? all.size() / static_cast<size_t>(team.size()) : all.size();
  const KernelTable& table = kernels(all.front().source->outputs.front().weight->impl().isa);
  std::vector<Plan>& plans = scratch.impl().plans;
  plans.clear();
  int64_t items = 0, most_tiles = 0;
  for (const Activations& x : all.first(count)) {
    most_tiles = std::max(most_tiles, x.tiling.tiles);
    int64_t largest = 0;
    for (const MatmulOutput& output : x.source->outputs) {
      const PackedMatrix::Impl& w = output.weight->impl();
      largest = std::max(largest, w.panels * w.panel_bytes);
    }
    for (const MatmulOutput& output : x.source->outputs)
      items += plans.emplace_back(output.weight->impl(), largest, x.tiling, team.size()).items();
  }
  if (!apart) prepare(team, table, all);
  // Half of the items have their thread from the start: all threads must come by anyhow, and each
  // asking for an item costs a small product dear. Of one tile, whose items are done in a moment,
  // seven eighths: what is left evens out when threads end. Not of several inputs, whose items are
  // of different sizes.
  const int64_t eighths = count == 1 && most_tiles == 1 ? 7 : 4;
  const int64_t own = items * eighths / (8 * team.size());
  std::atomic<int64_t> next{own * team.size()};
  team.run([&](int worker) {
    const auto inputs = apart ? all.subspan(static_cast<size_t>(worker) * count, count) : all;
    if (apart) prepare(table, inputs);
    int64_t mine = worker * own;
    const int64_t mine_end = mine + own;
    const auto take = [&] {
      return mine < mine_end ? mine++ : next.fetch_add(1, std::memory_order_relaxed);
    };
    int64_t item = take();
    int64_t base = 0;  // items of the outputs before this one
    const Plan* plan = plans.data();
    for (const Activations& x : inputs) {
      for (const MatmulOutput& output : x.source->outputs) {
        const int64_t end = base + plan->items();
        for (; item < end; item = take()) do_item(table, output, *plan, x, item - base);
        base = end;
        ++plan;
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
