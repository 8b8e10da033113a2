#include "model/transformer.h"

namespace spnl::mistralrs {

/// attend(rope(q(n)), cached rope(k), v)   with h = hidden size, H = heads, K = kv heads, d =
/// head_dim, v = value_dim
Rows Transformer::attention(size_t layer, Rows n, const Batch& batch) {
  const modelkit::AttentionSpec& spec = spec_.layers[layer].attention;
  const LoadedAttention& w = weights_.layers[layer].attention;
  const int64_t m = n.count, d = spec.head_dim, value_dim = spec.value_dim;
  const Rows q = workspace_.q(m, spec.heads * d);                        // [m, H * d]
  const Rows k = workspace_.k(m, spec.kv_heads * d);                     // [m, K * d]
  const Rows v = workspace_.v(m, spec.kv_heads * value_dim);             // [m, K * v]
  const Rows attended = workspace_.attended(m, spec.heads * value_dim);  // [m, H * v]

  const LinearOutput qkv[] = {{w.q.weight.get(), w.q.bias.floats(), q},
                              {w.k.weight.get(), w.k.bias.floats(), k},
                              {w.v.weight.get(), w.v.bias.floats(), v}};
  ops_.linear(n, qkv);  // [m, h] -> [m, H * d], [m, K * d], [m, K * v]
  norm_heads(w.q_norm, spec.norm_whole_width, d, q);
  norm_heads(w.k_norm, spec.norm_whole_width, d, k);
  attend(layer, q, k, v, batch, attended);  // [m, H * v]
  return attended;
}

void Transformer::norm_heads(const LoadedNorm& weights, bool whole_width, int64_t head_dim,
                             Rows x) {
  if (!weights) return;
  const Rows rows = whole_width ? x : x.by_head(head_dim);
  norm(weights, rows, rows);
}

/// Stores k, turned, and v (none in latent attention); q sees them and all that came before.
void Transformer::attend(size_t layer, Rows q, Rows k, Rows v, const Batch& batch, Rows attended) {
  const modelkit::AttentionSpec& spec = spec_.layers[layer].attention;
  const cpu::AttentionParams params{
      static_cast<int32_t>(spec.heads), static_cast<float>(spec.scale),
      static_cast<float>(spec.softcap), static_cast<int32_t>(spec.window),
      weights_.layers[layer].attention.sinks.floats()};
  const cpu::RowPositions positions = batch.row_positions();
  const Placement& at = cache_.kind(layer) == BlockKind::kFull ? batch.full : batch.windowed;
  ops_.rope_store(ropes_[layer], cache_.layer(layer), k, v, positions, at.slots);
  ops_.paged_attention(ropes_[layer], cache_.layer(layer), params, q, positions, at.sequences,
                       attended);
}

}  // namespace spnl::mistralrs
