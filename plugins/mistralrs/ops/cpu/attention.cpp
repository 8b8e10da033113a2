#include "ops/cpu/attention.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <vector>

#include "ops/cpu/kernel_table.h"

namespace spnl::mistralrs::cpu {

uint32_t kv_type_bytes(KvType type) { return type == KvType::kF32 ? 4 : 2; }

namespace {

/// A run is cut into splits of this many slots, counted from its first: the unit that partial
/// results are made for and merged by, whether one thread does all splits or many threads one each.
constexpr int32_t kSplitKeys = 8 * kKeyTile;
constexpr int kMaxQueryRows =
    96;  ///< rows times query heads of a kv head that share converted keys
constexpr float kNegInf = -std::numeric_limits<float>::infinity();

void fill_angles(const KernelTable& table, const Rope& rope, int64_t position, float* cos,
                 float* sin) {
  table.rope_angles(rope.inv_freq.data(), static_cast<int64_t>(rope.inv_freq.size()),
                    static_cast<double>(position), rope.magnitude, cos, sin);
}

struct Problem {
  const KernelTable& table;
  const Rope& rope;
  const KvLayer& layer;
  const AttentionParams& params;
  const float* queries;
  int64_t ld_queries;
  std::span<const int32_t> positions;
  std::span<const AttentionSequence> sequences;
  float* out;
  int64_t ld_out;

  int group() const { return params.heads / layer.kv_heads; }
  int rows_per_tile() const { return std::max(1, kMaxQueryRows / group()); }
  int padded_dim() const { return (layer.head_dim + 15) / 16 * 16; }
};

/// Some rows of a sequence for one kv head.
struct Tile {
  const AttentionSequence* sequence;
  int64_t first_row;
  int rows;
  int kv_head;
};

int32_t split_count(const KvRun& run) {
  return run.hi <= run.lo ? 0 : (run.hi - run.lo - 1) / kSplitKeys + 1;
}

/// Memory of one thread, kept for its life: sizes settle after the first calls.
struct Workspace {
  std::vector<float> q, scratch, part_max, part_sum, part, max, sum, state, cos, sin;
  std::vector<int32_t> first, last;
  std::vector<const uint8_t*> keys, values;

  void prepare(const Problem& p, int rows) {
    const int q_rows = rows * p.group();
    const auto n = static_cast<size_t>(q_rows);
    const auto pairs = p.rope.inv_freq.size();
    q.resize(n * static_cast<size_t>(p.layer.head_dim));
    scratch.resize(static_cast<size_t>(attend_scratch_floats(p.padded_dim())));
    for (auto* v : {&part_max, &part_sum, &max, &sum}) v->resize(n);
    part.resize(n * static_cast<size_t>(p.padded_dim()));
    state.resize(n * static_cast<size_t>(p.padded_dim()));
    cos.resize(pairs);
    sin.resize(pairs);
    first.resize(n);
    last.resize(n);
    keys.resize(kSplitKeys);
    values.resize(kSplitKeys);
  }
};

Workspace& workspace() {
  static thread_local Workspace w;
  return w;
}

/// Turns the tile's queries to position - offset.
void rotate_queries(const Problem& p, const Tile& tile, int32_t offset, Workspace& w) {
  const int group = p.group(), dim = p.layer.head_dim;
  const auto pairs = static_cast<int64_t>(p.rope.inv_freq.size());
  for (int r = 0; r < tile.rows; ++r) {
    const int64_t row = tile.first_row + r;
    const int64_t position = int64_t{p.positions[static_cast<size_t>(row)]} - offset;
    fill_angles(p.table, p.rope, position, w.cos.data(), w.sin.data());
    const float* in = p.queries + row * p.ld_queries + int64_t{tile.kv_head} * group * dim;
    float* out = w.q.data() + int64_t{r} * group * dim;
    for (int g = 0; g < group; ++g) {
      p.table.rotate(p.rope.kind, in + g * dim, w.cos.data(), w.sin.data(), pairs, dim,
                     p.params.scale, out + g * dim);
    }
  }
}

/// Visible keys of every query row in the split that starts at slot lo + begin of the run; false:
/// none at all. The visible slots of a row are one range: position and window both cut at an end.
bool find_visible(const Problem& p, const Tile& tile, const KvRun& run, int32_t begin, int32_t keys,
                  Workspace& w) {
  bool any = false;
  const int group = p.group();
  const int64_t linear = int64_t{run.e0} + run.offset + begin;  // of the split's first key
  for (int r = 0; r < tile.rows; ++r) {
    const int64_t position = p.positions[static_cast<size_t>(tile.first_row + r)];
    const int64_t last = std::clamp<int64_t>(position - linear + 1, 0, keys);
    const int64_t from = p.params.window > 0 ? position - p.params.window + 1 - linear : 0;
    const int64_t first = std::clamp<int64_t>(from, 0, last);
    any = any || first < last;
    for (int g = 0; g < group; ++g) {
      w.first[static_cast<size_t>(r * group + g)] = static_cast<int32_t>(first);
      w.last[static_cast<size_t>(r * group + g)] = static_cast<int32_t>(last);
    }
  }
  return any;
}

void find_slots(const KvLayer& layer, const KvRun& run, int32_t begin, int32_t keys, int kv_head,
                Workspace& w) {
  const int64_t row_bytes = int64_t{layer.head_dim} * kv_type_bytes(layer.type);
  for (int32_t i = 0; i < keys; ++i) {
    const int32_t slot = run.lo + begin + i;
    const int64_t block = run.blocks[slot / layer.block_size];
    const int64_t at =
        ((block * layer.kv_heads + kv_head) * layer.block_size + slot % layer.block_size) *
        row_bytes;
    w.keys[static_cast<size_t>(i)] = static_cast<const uint8_t*>(layer.keys) + at;
    w.values[static_cast<size_t>(i)] = static_cast<const uint8_t*>(layer.values) + at;
  }
}

/// Partial result of one split for the tile; queries are already turned for the run. False: nothing
/// visible.
bool attend_split(const Problem& p, const Tile& tile, const KvRun& run, int32_t split, Workspace& w,
                  float* max, float* sum, float* out) {
  const int32_t begin = split * kSplitKeys;
  const int32_t keys = std::min(kSplitKeys, run.hi - run.lo - begin);
  if (!find_visible(p, tile, run, begin, keys, w)) return false;
  find_slots(p.layer, run, begin, keys, tile.kv_head, w);
  AttendArgs args{};
  args.q = w.q.data();
  args.q_rows = tile.rows * p.group();
  args.first = w.first.data();
  args.last = w.last.data();
  args.keys = keys;
  args.key_rows = w.keys.data();
  args.value_rows = w.values.data();
  args.type = p.layer.type;
  args.head_dim = p.layer.head_dim;
  args.padded_dim = p.padded_dim();
  args.softcap = p.params.logit_softcap;
  args.scratch = w.scratch.data();
  args.max = max;
  args.sum = sum;
  args.out = out;
  p.table.attend(args);
  return true;
}

void clear_state(Workspace& w) {
  std::fill(w.max.begin(), w.max.end(), kNegInf);
  std::fill(w.sum.begin(), w.sum.end(), 0.0f);
  std::fill(w.state.begin(), w.state.end(), 0.0f);
}

void write_rows(const Problem& p, const Tile& tile, const Workspace& w) {
  const int group = p.group(), dim = p.layer.head_dim;
  for (int r = 0; r < tile.rows; ++r) {
    for (int g = 0; g < group; ++g) {
      const auto q_row = static_cast<size_t>(r * group + g);
      const float* state = w.state.data() + q_row * static_cast<size_t>(p.padded_dim());
      float* out =
          p.out + (tile.first_row + r) * p.ld_out + (int64_t{tile.kv_head} * group + g) * dim;
      const float inverse = w.sum[q_row] > 0 ? 1.0f / w.sum[q_row] : 0.0f;
      for (int d = 0; d < dim; ++d) out[d] = state[d] * inverse;
    }
  }
}

void merge_rows(const Problem& p, int q_rows, const float* max, const float* sum, const float* part,
                Workspace& w) {
  const int dim = p.padded_dim();
  for (int r = 0; r < q_rows; ++r) {
    const auto i = static_cast<size_t>(r);
    p.table.merge(max[r], sum[r], part + int64_t{r} * dim, dim, w.max[i], w.sum[i],
                  w.state.data() + int64_t{r} * dim);
  }
}

/// All runs of a tile, in order, by one thread.
void attend_tile(const Problem& p, const Tile& tile) {
  Workspace& w = workspace();
  w.prepare(p, tile.rows);
  clear_state(w);
  bool turned = false;
  int32_t turned_offset = 0;
  for (const KvRun& run : tile.sequence->runs) {
    if (run.hi <= run.lo) continue;
    if (!turned || run.offset != turned_offset) rotate_queries(p, tile, run.offset, w);
    turned = true;
    turned_offset = run.offset;
    for (int32_t s = 0; s < split_count(run); ++s) {
      if (attend_split(p, tile, run, s, w, w.part_max.data(), w.part_sum.data(), w.part.data())) {
        merge_rows(p, tile.rows * p.group(), w.part_max.data(), w.part_sum.data(), w.part.data(),
                   w);
      }
    }
  }
  write_rows(p, tile, w);
}

/// One split of one tile, for the way in which threads share a tile.
struct Piece {
  int tile;
  const KvRun* run;
  int32_t split;
};

/// Few tiles and long runs (decoding a few sequences): splits go to threads, results are merged in
/// order.
void attend_pieces(ThreadTeam& team, const Problem& p, const std::vector<Tile>& tiles,
                   const std::vector<Piece>& pieces, int q_rows) {
  const auto dim = static_cast<size_t>(p.padded_dim());
  const auto n = static_cast<size_t>(q_rows);
  std::vector<float> max(pieces.size() * n), sum(pieces.size() * n), part(pieces.size() * n * dim);
  std::vector<uint8_t> visible(pieces.size());
  std::atomic<size_t> next{0};
  team.run([&](int) {
    Workspace& w = workspace();
    w.prepare(p, tiles.front().rows);
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < pieces.size();) {
      const Tile& tile = tiles[static_cast<size_t>(pieces[i].tile)];
      rotate_queries(p, tile, pieces[i].run->offset, w);
      visible[i] = attend_split(p, tile, *pieces[i].run, pieces[i].split, w, &max[i * n],
                                &sum[i * n], &part[i * n * dim]);
    }
  });
  Workspace& w = workspace();
  for (size_t t = 0, i = 0; t < tiles.size(); ++t) {
    clear_state(w);
    for (; i < pieces.size() && pieces[i].tile == static_cast<int>(t); ++i) {
      if (visible[i]) merge_rows(p, q_rows, &max[i * n], &sum[i * n], &part[i * n * dim], w);
    }
    write_rows(p, tiles[t], w);
  }
}

}  // namespace

void rope_store(ThreadTeam& team, Isa isa, const Rope& rope, const KvLayer& layer,
                const float* keys, int64_t ld_keys, const float* values, int64_t ld_values,
                std::span<const int32_t> positions, std::span<const int64_t> slots) {
  const KernelTable& table = kernels(isa);
  const auto pairs = static_cast<int64_t>(rope.inv_freq.size());
  const int dim = layer.head_dim;
  const int64_t row_bytes = int64_t{dim} * kv_type_bytes(layer.type);
  const auto m = static_cast<int64_t>(positions.size());
  const auto store_row = [&](int64_t row, float* angles, float* turned) {
    fill_angles(table, rope, positions[static_cast<size_t>(row)], angles, angles + pairs);
    const int64_t slot = slots[static_cast<size_t>(row)];
    for (int h = 0; h < layer.kv_heads; ++h) {
      const int64_t at = ((slot / layer.block_size * layer.kv_heads + h) * layer.block_size +
                          slot % layer.block_size) *
                         row_bytes;
      table.rotate(rope.kind, keys + row * ld_keys + int64_t{h} * dim, angles, angles + pairs,
                   pairs, dim, 1.0f, turned);
      table.store(layer.type, turned, dim, static_cast<uint8_t*>(layer.keys) + at);
      table.store(layer.type, values + row * ld_values + int64_t{h} * dim, dim,
                  static_cast<uint8_t*>(layer.values) + at);
    }
  };
  std::atomic<int64_t> next{0};
  const auto work = [&](int) {
    constexpr int64_t kRows = 8;
    Workspace& w = workspace();
    w.cos.resize(static_cast<size_t>(2 * pairs));
    w.q.resize(static_cast<size_t>(dim));
    for (int64_t first; (first = next.fetch_add(kRows, std::memory_order_relaxed)) < m;) {
      for (int64_t row = first; row < std::min(first + kRows, m); ++row)
        store_row(row, w.cos.data(), w.q.data());
    }
  };
  if (m <= 8) {
    work(0);
  } else {
    team.run(work);
  }
}

void paged_attention(ThreadTeam& team, Isa isa, const Rope& rope, const KvLayer& layer,
                     const AttentionParams& params, const float* queries, int64_t ld_queries,
                     std::span<const int32_t> positions,
                     std::span<const AttentionSequence> sequences, float* out, int64_t ld_out) {
  const Problem p{kernels(isa), rope,      layer,     params, queries,
                  ld_queries,   positions, sequences, out,    ld_out};
  std::vector<Tile> tiles;
  const int per_tile = p.rows_per_tile();
  int64_t most_rows = 0;
  for (const AttentionSequence& sequence : sequences) {
    most_rows = std::max(most_rows, sequence.rows);
    // Later rows see more keys: they go out first, so that the threads finish together.
    for (int64_t last = sequence.rows; last > 0; last -= per_tile) {
      const int64_t first = std::max<int64_t>(0, last - per_tile);
      for (int h = 0; h < layer.kv_heads; ++h) {
        tiles.push_back({&sequence, sequence.first_row + first, static_cast<int>(last - first), h});
      }
    }
  }
  if (tiles.empty()) return;
  if (most_rows == 1 && team.size() > 1 && tiles.size() < 4 * static_cast<size_t>(team.size())) {
    std::vector<Piece> pieces;
    for (size_t t = 0; t < tiles.size(); ++t) {
      for (const KvRun& run : tiles[t].sequence->runs) {
        for (int32_t s = 0; s < split_count(run); ++s)
          pieces.push_back({static_cast<int>(t), &run, s});
      }
    }
    if (pieces.size() > tiles.size()) {
      attend_pieces(team, p, tiles, pieces, p.group());
      return;
    }
  }
  std::atomic<size_t> next{0};
  team.run([&](int) {
    for (size_t t; (t = next.fetch_add(1, std::memory_order_relaxed)) < tiles.size();)
      attend_tile(p, tiles[t]);
  });
}

}  // namespace spnl::mistralrs::cpu
