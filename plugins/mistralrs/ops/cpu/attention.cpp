#include "ops/cpu/attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/cpu/for_each_row.h"
#include "ops/cpu/kernel_table.h"

namespace spnl::mistralrs::cpu {

bool kv_type_fits(KvType type, int64_t dim) {
  return type != KvType::kQ8_0 || dim % kKvQuantBlock == 0;
}

int64_t kv_row_bytes(KvType type, int64_t dim) {
  if (type == KvType::kQ8_0) return dim / kKvQuantBlock * (2 + kKvQuantBlock);
  return dim * (type == KvType::kF32 ? 4 : 2);
}

namespace {

/// A run is cut into splits of this many slots, counted from its first: the unit that partial
/// results are made for and merged by, whether one thread does all splits or many threads one each.
constexpr int32_t kSplitKeys = 4 * kKeyTile;
/// Query heads of a kv head that one thread takes: more (latent attention) are shared out.
constexpr int kMaxTileHeads = 16;
constexpr float kNegInf = -std::numeric_limits<float>::infinity();

int padded(int dim) { return (dim + 15) / 16 * 16; }

struct Problem {
  const KernelTable& table;
  const Rope& rope;
  const float* angles;  ///< of the rows as RopeAngles has them
  const KvLayer& layer;
  const AttentionParams& params;
  const float* queries;
  int64_t ld_queries;
  const RowPositions& positions;
  std::span<const AttentionSequence> sequences;
  float* out;
  int64_t ld_out;

  int group() const { return params.heads / layer.kv_heads; }
  int tile_heads() const { return std::min(group(), kMaxTileHeads); }
  int tile_rows() const { return std::max(1, kMaxAttendRows / tile_heads()); }
  int padded_value() const { return padded(layer.value_dim); }
};

/// Some rows of a sequence for some query heads of one kv head. Query row r * heads + h of a tile
/// is row r, head h.
struct Tile {
  const AttentionSequence* sequence;
  int64_t first_row;
  int rows;
  int kv_head;
  int first_head, heads;  ///< of all query heads

  int q_rows() const { return rows * heads; }
};

/// Some keys of one kv head: slots lo + begin .. lo + begin + count - 1 of the run.
struct Split {
  const KvRun* run = nullptr;
  int kv_head = 0;
  int32_t begin = 0, count = 0;
};

int32_t split_count(const KvRun& run) {
  return run.hi <= run.lo ? 0 : (run.hi - run.lo - 1) / kSplitKeys + 1;
}

Split split_of(const KvRun& run, int kv_head, int32_t index) {
  const int32_t begin = index * kSplitKeys;
  return {&run, kv_head, begin, std::clamp(run.hi - run.lo - begin, 0, kSplitKeys)};
}

/// The tile's first; nothing where there is no tile.
Split first_split(const Tile* tile) {
  if (tile == nullptr || tile->sequence->runs.empty()) return {};
  return split_of(tile->sequence->runs.front(), tile->kv_head, 0);
}

/// Memory of one thread, kept for its life: sizes settle after the first calls.
struct Workspace {
  std::vector<float> q, scratch, part_max, part_sum, part, max, sum, state, angles;
  std::vector<int32_t> first, last;
  std::vector<const uint8_t*> keys, values;

  void prepare(const Problem& p, int q_rows) {
    const auto n = static_cast<size_t>(q_rows), dim = static_cast<size_t>(p.padded_value());
    q.resize(n * static_cast<size_t>(p.layer.head_dim));
    scratch.resize(
        static_cast<size_t>(attend_scratch_floats(padded(p.layer.head_dim), p.padded_value())));
    for (auto* v : {&part_max, &part_sum, &max, &sum}) v->resize(n);
    part.resize(n * dim);
    state.resize(n * dim);
    angles.resize(2 * static_cast<size_t>(p.rope.pairs()));
    first.resize(n);
    last.resize(n);
    keys.resize(kSplitKeys + kKeyTile);
    values.resize(kSplitKeys + kKeyTile);
  }
};

Workspace& workspace() {
  static thread_local Workspace w;
  return w;
}

/// Cosines, then sines of row's position - offset.
const float* angles_of(const Problem& p, int64_t row, int32_t offset, Workspace& w) {
  const int64_t pairs = p.rope.pairs();
  if (offset == 0) return p.angles + row * 2 * pairs;
  const RopeTurns& turns = p.rope.of(p.positions.is_long(row));
  const int64_t position = int64_t{p.positions.at[static_cast<size_t>(row)]} - offset;
  float* cos = w.angles.data();
  p.table.rope_angles(turns.inv_freq.data(), pairs, static_cast<double>(position), turns.magnitude,
                      cos, cos + pairs);
  return cos;
}

/// Turns the tile's queries to position - offset.
void rotate_queries(const Problem& p, const Tile& tile, int32_t offset, Workspace& w) {
  const int dim = p.layer.head_dim;
  for (int r = 0; r < tile.rows; ++r) {
    const int64_t row = tile.first_row + r;
    const float* cos = angles_of(p, row, offset, w);
    const float* in = p.queries + row * p.ld_queries + int64_t{tile.first_head} * dim;
    float* out = w.q.data() + int64_t{r} * tile.heads * dim;
    for (int h = 0; h < tile.heads; ++h) {
      p.table.rotate(p.rope.kind, in + h * dim, cos, cos + p.rope.pairs(), p.rope.first_dim,
                     p.rope.pairs(), dim, p.params.scale, out + h * dim);
    }
  }
}

/// Visible keys of every query row in the split; false: none at all. The visible slots of a row are
/// one range: position and window both cut at an end.
bool find_visible(const Problem& p, const Tile& tile, const Split& split, Workspace& w) {
  bool any = false;
  const int64_t linear =
      int64_t{split.run->e0} + split.run->offset + split.begin;  // of its first key
  for (int r = 0; r < tile.rows; ++r) {
    const int64_t position = p.positions.at[static_cast<size_t>(tile.first_row + r)];
    const int64_t last = std::clamp<int64_t>(position - linear + 1, 0, split.count);
    const int64_t from = p.params.window > 0 ? position - p.params.window + 1 - linear : 0;
    const int64_t first = std::clamp<int64_t>(from, 0, last);
    any = any || first < last;
    for (int h = 0; h < tile.heads; ++h) {
      w.first[static_cast<size_t>(r * tile.heads + h)] = static_cast<int32_t>(first);
      w.last[static_cast<size_t>(r * tile.heads + h)] = static_cast<int32_t>(last);
    }
  }
  return any;
}

/// Where the first `count` keys and values of the split lie, block by block: a division costs as
/// much as a key's dot products.
void find_slots(const KvLayer& layer, const Split& split, int32_t count, const uint8_t** keys,
                const uint8_t** values) {
  const int64_t key_bytes = kv_row_bytes(layer.type, layer.head_dim);
  const auto* all_keys = static_cast<const uint8_t*>(layer.keys);
  const bool shared = layer.values == nullptr;
  const int64_t value_bytes = shared ? key_bytes : kv_row_bytes(layer.type, layer.value_dim);
  const auto* all_values = shared ? all_keys : static_cast<const uint8_t*>(layer.values);
  const int32_t slot = split.run->lo + split.begin;
  int32_t block = slot / layer.block_size, in_block = slot % layer.block_size;
  for (int32_t i = 0; i < count; ++block, in_block = 0) {
    const int64_t at =
        (int64_t{split.run->blocks[block]} * layer.kv_heads + split.kv_head) * layer.block_size +
        in_block;
    const uint8_t *key = all_keys + at * key_bytes, *value = all_values + at * value_bytes;
    const int32_t end = std::min(count, i + layer.block_size - in_block);
    for (; i < end; ++i, key += key_bytes, value += value_bytes) {
      keys[i] = key;
      values[i] = value;
    }
  }
}

/// The split's keys, and behind them the first of the one that the thread does next. Where that has
/// less, the last key stands for more.
void find_slots(const KvLayer& layer, const Split& split, const Split& next, Workspace& w) {
  const uint8_t **keys = w.keys.data(), **values = w.values.data();
  find_slots(layer, split, split.count, keys, values);
  const int32_t ahead = std::min(next.count, kKeyTile), found = split.count + ahead;
  if (ahead > 0) find_slots(layer, next, ahead, keys + split.count, values + split.count);
  std::fill(keys + found, keys + split.count + kKeyTile, keys[found - 1]);
  std::fill(values + found, values + split.count + kKeyTile, values[found - 1]);
}

/// Partial result of one split for the tile; queries are already turned for the run. False: nothing
/// visible.
bool attend_split(const Problem& p, const Tile& tile, const Split& split, const Split& next,
                  Workspace& w, float* max, float* sum, float* out) {
  if (!find_visible(p, tile, split, w)) return false;
  find_slots(p.layer, split, next, w);
  AttendArgs args{};
  args.q = w.q.data();
  args.q_rows = tile.q_rows();
  args.first = w.first.data();
  args.last = w.last.data();
  args.keys = split.count;
  args.key_rows = w.keys.data();
  args.value_rows = w.values.data();
  args.type = p.layer.type;
  args.head_dim = p.layer.head_dim;
  args.value_dim = p.layer.value_dim;
  args.padded_value = p.padded_value();
  args.softcap = p.params.logit_softcap;
  args.scratch = w.scratch.data();
  args.max = max;
  args.sum = sum;
  args.out = out;
  p.table.attend(args);
  return true;
}

void clear_state(const Problem& p, int q_rows, Workspace& w) {
  std::fill_n(w.max.begin(), q_rows, kNegInf);
  std::fill_n(w.sum.begin(), q_rows, 0.0f);
  std::fill_n(w.state.begin(), q_rows * p.padded_value(), 0.0f);
}

/// The sink joins the sum last, as one more key whose value is zero.
float finish_sum(const Problem& p, int head, float max, float sum) {
  if (p.params.sinks == nullptr || !(sum > 0)) return sum;
  return sum + std::exp(p.params.sinks[head] - max);
}

void write_rows(const Problem& p, const Tile& tile, const Workspace& w) {
  const int dim = p.layer.value_dim;
  for (int r = 0; r < tile.rows; ++r) {
    for (int h = 0; h < tile.heads; ++h) {
      const auto q_row = static_cast<size_t>(r * tile.heads + h);
      const int head = tile.first_head + h;
      const float* state = w.state.data() + q_row * static_cast<size_t>(p.padded_value());
      float* out = p.out + (tile.first_row + r) * p.ld_out + int64_t{head} * dim;
      const float sum = finish_sum(p, head, w.max[q_row], w.sum[q_row]);
      const float inverse = sum > 0 ? 1.0f / sum : 0.0f;
      for (int d = 0; d < dim; ++d) out[d] = state[d] * inverse;
    }
  }
}

void merge_rows(const Problem& p, int q_rows, const float* max, const float* sum, const float* part,
                Workspace& w) {
  const int dim = p.padded_value();
  for (int r = 0; r < q_rows; ++r) {
    const auto i = static_cast<size_t>(r);
    p.table.merge(max[r], sum[r], part + int64_t{r} * dim, dim, w.max[i], w.sum[i],
                  w.state.data() + int64_t{r} * dim);
  }
}

/// Whether any row of the tile sees any slot of the run.
bool sees(const Problem& p, const Tile& tile, const KvRun& run) {
  const int64_t first = int64_t{run.e0} + run.offset, last = first + (run.hi - run.lo) - 1;
  for (int r = 0; r < tile.rows; ++r) {
    const int64_t position = p.positions.at[static_cast<size_t>(tile.first_row + r)];
    const int64_t from = p.params.window > 0 ? position - p.params.window + 1 : first;
    if (std::max(first, from) <= std::min(last, position)) return true;
  }
  return false;
}

/// All runs of a tile, in order, by one thread; `next`: what it does afterwards, or null.
void attend_tile(const Problem& p, const Tile& tile, const Tile* next, Workspace& w) {
  clear_state(p, tile.q_rows(), w);
  bool turned = false;
  int32_t turned_offset = 0;
  for (const KvRun& run : tile.sequence->runs) {
    if (!sees(p, tile, run)) continue;
    if (!turned || run.offset != turned_offset) rotate_queries(p, tile, run.offset, w);
    turned = true;
    turned_offset = run.offset;
    const bool last_run = &run == &tile.sequence->runs.back();
    const Split behind_run = last_run ? first_split(next) : split_of(*(&run + 1), tile.kv_head, 0);
    for (int32_t s = 0, count = split_count(run); s < count; ++s) {
      const Split split = split_of(run, tile.kv_head, s);
      const Split after = s + 1 < count ? split_of(run, tile.kv_head, s + 1) : behind_run;
      if (attend_split(p, tile, split, after, w, w.part_max.data(), w.part_sum.data(),
                       w.part.data())) {
        merge_rows(p, tile.q_rows(), w.part_max.data(), w.part_sum.data(), w.part.data(), w);
      }
    }
  }
  write_rows(p, tile, w);
}

/// One split of one tile, for the way in which threads share a tile.
struct Piece {
  int tile;
  Split split;
};

/// What one call hands out, in memory that the calling thread keeps.
struct Work {
  std::vector<Tile> tiles;
  std::vector<Piece> pieces;
  std::vector<float> max, sum, part;  ///< of each piece
  std::vector<uint8_t> visible;
};

Work& cleared_work() {
  static thread_local Work work;
  work.tiles.clear();
  work.pieces.clear();
  return work;
}

/// work(workspace, i, next) for all i, shared out to the team. A thread takes what it does next
/// before it does i, so that it can ask for the keys of `next` (null: none) meanwhile.
template <class Item, class Do>
void hand_out_ahead(ThreadTeam& team, const Problem& p, int q_rows, const std::vector<Item>& items,
                    const Do& work) {
  std::atomic<size_t> untaken{static_cast<size_t>(team.size())};
  team.run([&](int worker) {
    Workspace& w = workspace();
    w.prepare(p, q_rows);
    for (auto i = static_cast<size_t>(worker); i < items.size();) {
      const size_t next = untaken.fetch_add(1, std::memory_order_relaxed);
      work(w, i, next < items.size() ? &items[next] : nullptr);
      i = next;
    }
  });
}

/// Few tiles and long runs (decoding a few sequences): splits go to threads, results are merged in
/// order.
void attend_pieces(ThreadTeam& team, const Problem& p, Work& work) {
  const std::vector<Tile>& tiles = work.tiles;
  const std::vector<Piece>& pieces = work.pieces;
  const auto dim = static_cast<size_t>(p.padded_value());
  const auto n = static_cast<size_t>(p.tile_heads());  // one row each
  work.max.resize(pieces.size() * n);
  work.sum.resize(pieces.size() * n);
  work.part.resize(pieces.size() * n * dim);
  work.visible.resize(pieces.size());
  const auto do_piece = [&](Workspace& w, size_t i, const Piece* next) {
    const Tile& tile = tiles[static_cast<size_t>(pieces[i].tile)];
    rotate_queries(p, tile, pieces[i].split.run->offset, w);
    work.visible[i] = attend_split(p, tile, pieces[i].split, next ? next->split : Split{}, w,
                                   &work.max[i * n], &work.sum[i * n], &work.part[i * n * dim]);
  };
  hand_out_ahead(team, p, p.tile_heads(), pieces, do_piece);
  Workspace& w = workspace();
  for (size_t t = 0, i = 0; t < tiles.size(); ++t) {
    clear_state(p, tiles[t].q_rows(), w);
    for (; i < pieces.size() && pieces[i].tile == static_cast<int>(t); ++i) {
      if (!work.visible[i]) continue;
      merge_rows(p, tiles[t].q_rows(), &work.max[i * n], &work.sum[i * n], &work.part[i * n * dim],
                 w);
    }
    write_rows(p, tiles[t], w);
  }
}

}  // namespace

void rope_store(ThreadTeam& team, Isa isa, const Rope& rope, RopeAngles& angles,
                const KvLayer& layer, const float* keys, int64_t ld_keys, const float* values,
                int64_t ld_values, const RowPositions& positions, std::span<const int64_t> slots) {
  const KernelTable& table = kernels(isa);
  const int64_t pairs = rope.pairs();
  const int dim = layer.head_dim, value_dim = layer.value_dim;
  const int64_t key_bytes = kv_row_bytes(layer.type, dim);
  const int64_t value_bytes = kv_row_bytes(layer.type, value_dim);
  const auto m = static_cast<int64_t>(positions.at.size());
  const float* all_angles = angles.of_rows(team, isa, rope, positions);
  for_each_row(team, m, int64_t{layer.kv_heads} * (dim + value_dim), [&](int64_t row) {
    const float* cos = all_angles + row * 2 * pairs;
    const int64_t slot = slots[static_cast<size_t>(row)];
    std::vector<float>& turned = workspace().q;
    turned.resize(static_cast<size_t>(dim));
    for (int h = 0; h < layer.kv_heads; ++h) {
      const int64_t at = (slot / layer.block_size * layer.kv_heads + h) * layer.block_size +
                         slot % layer.block_size;
      table.rotate(rope.kind, keys + row * ld_keys + int64_t{h} * dim, cos, cos + pairs,
                   rope.first_dim, pairs, dim, 1.0f, turned.data());
      table.store(layer.type, turned.data(), dim,
                  static_cast<uint8_t*>(layer.keys) + at * key_bytes);
      if (layer.values == nullptr) continue;
      table.store(layer.type, values + row * ld_values + int64_t{h} * value_dim, value_dim,
                  static_cast<uint8_t*>(layer.values) + at * value_bytes);
    }
  });
}

void paged_attention(ThreadTeam& team, Isa isa, const Rope& rope, RopeAngles& angles,
                     const KvLayer& layer, const AttentionParams& params, const float* queries,
                     int64_t ld_queries, const RowPositions& positions,
                     std::span<const AttentionSequence> sequences, float* out, int64_t ld_out) {
  const Problem p{kernels(isa), rope,      angles.of_rows(team, isa, rope, positions),
                  layer,        params,    queries,
                  ld_queries,   positions, sequences,
                  out,          ld_out};
  Work& work = cleared_work();
  std::vector<Tile>& tiles = work.tiles;
  const int per_tile = p.tile_rows(), group = p.group();
  int64_t most_rows = 0;
  for (const AttentionSequence& sequence : sequences) {
    most_rows = std::max(most_rows, sequence.rows);
    // Later rows see more keys: they go out first, so that the threads finish together.
    for (int64_t last = sequence.rows; last > 0; last -= per_tile) {
      const int64_t first = std::max<int64_t>(0, last - per_tile);
      for (int head = 0, end; head < params.heads; head = end) {
        end = std::min(head + p.tile_heads(), (head / group + 1) * group);
        tiles.push_back({&sequence, sequence.first_row + first, static_cast<int>(last - first),
                         head / group, head, end - head});
      }
    }
  }
  if (tiles.empty()) return;
  if (most_rows == 1 && team.size() > 1 && tiles.size() < 4 * static_cast<size_t>(team.size())) {
    for (size_t t = 0; t < tiles.size(); ++t) {
      for (const KvRun& run : tiles[t].sequence->runs) {
        for (int32_t s = 0; s < split_count(run); ++s)
          work.pieces.push_back({static_cast<int>(t), split_of(run, tiles[t].kv_head, s)});
      }
    }
    if (work.pieces.size() > tiles.size()) return attend_pieces(team, p, work);
  }
  if (most_rows == 1) {
    return hand_out_ahead(
        team, p, p.tile_heads(), tiles,
        [&](Workspace& w, size_t t, const Tile* next) { attend_tile(p, tiles[t], next, w); });
  }
  const int most_q_rows = static_cast<int>(std::min<int64_t>(most_rows, per_tile)) * p.tile_heads();
  std::atomic<size_t> untaken{0};
  team.run([&](int) {
    Workspace& w = workspace();
    w.prepare(p, most_q_rows);
    for (size_t t; (t = untaken.fetch_add(1, std::memory_order_relaxed)) < tiles.size();)
      attend_tile(p, tiles[t], nullptr, w);
  });
}

}  // namespace spnl::mistralrs::cpu
