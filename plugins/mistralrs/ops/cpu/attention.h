#pragma once
#include <cstdint>
#include <span>

#include "ops/cpu/isa.h"
#include "ops/cpu/rope.h"
#include "ops/cpu/thread_team.h"

namespace spnl::mistralrs::cpu {

/// Elements of keys and values. kQ8_0: blocks of kKvQuantBlock elements, an f16 scale and then one
/// signed byte each; a block is 34 bytes.
enum class KvType { kF32, kF16, kBF16, kQ8_0 };
constexpr int32_t kKvQuantBlock = 32;
/// Whether a key or value of `dim` elements can be stored so.
bool kv_type_fits(KvType type, int64_t dim);
/// Bytes of one key or value of `dim` elements, which fit.
int64_t kv_row_bytes(KvType type, int64_t dim);

/// One layer's paged cache: keys [blocks, kv_heads, block_size, head_dim] and values [blocks,
/// kv_heads, block_size, value_dim] of `type`. A slot is block * block_size + index in block. Keys
/// are stored rotated. Where `values` is null, a value is the first value_dim elements of its key
/// (latent attention). The type fits both dims.
struct KvLayer {
  KvType type;
  int32_t block_size, kv_heads, head_dim, value_dim;
  void* keys;
  void* values;
};

/// Writes m rows into the cache. keys [m, kv_heads * head_dim], values [m, kv_heads * value_dim]
/// float32 (null where the layer has none), keys not yet rotated. positions[m]: the coordinate e
/// that a key is rotated to; slots[m]: where it goes (unrelated to positions).
void rope_store(ThreadTeam& team, Isa isa, const Rope& rope, RopeAngles& angles,
                const KvLayer& layer, const float* keys, int64_t ld_keys, const float* values,
                int64_t ld_values, const RowPositions& positions, std::span<const int64_t> slots);

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
  int32_t heads;                 ///< query heads; heads % kv_heads == 0
  float scale;                   ///< multiplies q.k
  float logit_softcap = 0;       ///< > 0: cap * tanh(score / cap)
  int32_t window = 0;            ///< > 0: a query at p sees linear positions in (p - window, p]
  const float* sinks = nullptr;  ///< [heads] scores that join a row's softmax without a value
};

/// Causal attention over paged runs: out[m, heads * value_dim]. queries [m, ld_queries] are not
/// rotated (any q-norm is done): for each run the query is turned to p - offset, so cached keys are
/// never touched. A slot is visible iff its linear position is <= the row's (and in the window).
/// Online softmax (FlashAttention, arXiv 2205.14135) over key tiles counted from each run's first
/// slot, in order, with float32 accumulators: a row's bits do not depend on batch, chunking or
/// thread count. Rows without a visible slot give zeros.
void paged_attention(ThreadTeam& team, Isa isa, const Rope& rope, RopeAngles& angles,
                     const KvLayer& layer, const AttentionParams& params, const float* queries,
                     int64_t ld_queries, const RowPositions& positions,
                     std::span<const AttentionSequence> sequences, float* out, int64_t ld_out);

}  // namespace spnl::mistralrs::cpu
