#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "ops/cpu/isa.h"
#include "ops/cpu/thread_team.h"

namespace spnl::mistralrs::cpu {

enum class KvType { kF32, kF16, kBF16 };
uint32_t kv_type_bytes(KvType type);

enum class RopeKind { kHalfSplit, kInterleaved };

/// Rotary embedding of one kind of layer: pair i turns by position * inv_freq[i]; cos and sin are
/// multiplied by `magnitude` (yarn, longrope). Angles are computed in double and rounded to
/// float32.
struct Rope {
  RopeKind kind = RopeKind::kHalfSplit;
  std::vector<double> inv_freq;  ///< [rotary_dims / 2]; empty: no rotation (NoPE)
  double magnitude = 1.0;        ///< applied once to q and once to k
};

/// One layer's paged cache: keys and values, each [blocks, kv_heads, block_size, head_dim] of
/// `type`. A slot is block * block_size + index in block. Keys are stored rotated.
struct KvLayer {
  KvType type;
  int32_t block_size, kv_heads, head_dim;
  void* keys;
  void* values;
};

/// Writes m rows into the cache. keys, values: [m, kv_heads * head_dim] float32, keys not yet
/// rotated. positions[m]: the coordinate e that a key is rotated to; slots[m]: where it goes
/// (unrelated to positions).
void rope_store(ThreadTeam& team, Isa isa, const Rope& rope, const KvLayer& layer,
                const float* keys, int64_t ld_keys, const float* values, int64_t ld_values,
                std::span<const int32_t> positions, std::span<const int64_t> slots);

/// Consecutive cached tokens with one offset (shared/spec: the run of a span). Slot index i in
/// lo..hi-1 counts from the start of `blocks`; its token has cached position e0 + (i - lo) and
/// linear position e0 + (i - lo) + offset.
struct KvRun {
  const int32_t* blocks;  ///< block numbers; ceil(hi / block_size) of them
  int32_t lo, hi;
  int32_t e0;
  int32_t offset;
};

/// Rows first_row .. first_row + rows - 1 of a batch belong to one sequence and see its runs.
struct AttentionSequence {
  int64_t first_row, rows;
  std::span<const KvRun> runs;
};

struct AttentionParams {
  int32_t heads;            ///< query heads; heads % kv_heads == 0
  float scale;              ///< multiplies q.k
  float logit_softcap = 0;  ///< > 0: cap * tanh(score / cap)
  int32_t window = 0;       ///< > 0: a query at p sees linear positions in (p - window, p]
};

/// Causal attention over paged runs: out[m, heads * head_dim]. queries [m, ld_queries] are not
/// rotated (any q-norm is done): for each run the query is turned to p - offset, so cached keys are
/// never touched. A slot is visible iff its linear position is <= the row's (and in the window).
/// Online softmax (FlashAttention, arXiv 2205.14135) over key tiles counted from each run's first
/// slot, in order, with float32 accumulators: a row's bits do not depend on batch, chunking or
/// thread count. Rows without a visible slot give zeros.
void paged_attention(ThreadTeam& team, Isa isa, const Rope& rope, const KvLayer& layer,
                     const AttentionParams& params, const float* queries, int64_t ld_queries,
                     std::span<const int32_t> positions,
                     std::span<const AttentionSequence> sequences, float* out, int64_t ld_out);

}  // namespace spnl::mistralrs::cpu
