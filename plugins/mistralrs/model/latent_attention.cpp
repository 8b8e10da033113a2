#include "model/transformer.h"

namespace spnl::mistralrs {

/// Multi-head latent attention in its absorbed form (arXiv:2405.04434, section 2.1.2): with keys
/// k = [W_k latent | rope part] a score is q . k = (W_k^T q_nope) . latent + q_rope . rope part,
/// and the values' projection can wait until after the sum. So the cache is one "head" of [latent |
/// rope part] for all, whose values are the latent.
///   H = heads, L = latent_dim, N = nope_dim, R = rope_dim, V = value_dim
Rows Transformer::latent_attention(size_t layer, Rows n, const Batch& batch) {
  const modelkit::AttentionSpec& spec = spec_.layers[layer].attention;
  const LoadedAttention& w = weights_.layers[layer].attention;
  const int64_t m = n.count, heads = spec.heads, value_dim = spec.value_dim;
  const int64_t latent = spec.latent.latent_dim, nope = spec.latent.nope_dim,
                rope = spec.latent.rope_dim;
  const Rows q = workspace_.q(m, heads * (nope + rope));                       // [m, H * (N + R)]
  const Rows key = workspace_.k(m, latent + rope);                             // [m, L + R]
  const Rows absorbed = workspace_.absorbed(m, heads * (latent + rope));       // [m, H * (L + R)]
  const Rows attended_latent = workspace_.attended_latent(m, heads * latent);  // [m, H * L]
  const Rows attended = workspace_.attended(m, heads * value_dim);             // [m, H * V]

  const LinearOutput to_key{w.kv_a.weight.get(), w.kv_a.bias.floats(), key};
  if (w.q_a) {
    const Rows q_latent = workspace_.q_latent(m, w.q_a.weight->rows());
    const LinearOutput outputs[] = {{w.q_a.weight.get(), w.q_a.bias.floats(), q_latent}, to_key};
    ops_.linear(n, outputs);  // [m, h] -> [m, q latent], [m, L + R]
    if (w.q_a_norm) norm(w.q_a_norm, q_latent, q_latent);
    linear(q_latent, w.q, q);  // [m, H * (N + R)]
  } else {
    const LinearOutput outputs[] = {{w.q.weight.get(), w.q.bias.floats(), q}, to_key};
    ops_.linear(n, outputs);  // [m, h] -> [m, H * (N + R)], [m, L + R]
  }
  if (w.kv_a_norm) norm(w.kv_a_norm, key.columns(0, latent), key.columns(0, latent));

  const auto each_head = [&](const std::vector<MatrixPtr>& by_head, const auto& x, const auto& y) {
    outputs_.clear();
    groups_.clear();
    outputs_.reserve(by_head.size());
    for (int64_t i = 0; i < heads; ++i) {
      outputs_.push_back({by_head[static_cast<size_t>(i)].get(), nullptr, y(i)});
      groups_.push_back({x(i), std::span(outputs_).last(1)});
    }
    ops_.linear(groups_);
  };
  each_head(
      w.k_b, [&](int64_t i) { return q.columns(i * (nope + rope), nope); },
      [&](int64_t i) {
        return absorbed.columns(i * (latent + rope), latent);
      });  // [m, N] -> [m, L]
  ops_.copy(q.by_head(nope + rope).columns(nope, rope),
            absorbed.by_head(latent + rope).columns(latent, rope));  // [m * H, R]
  attend(layer, absorbed, key, {}, batch, attended_latent);          // [m, H * L]
  each_head(
      w.v_b, [&](int64_t i) { return attended_latent.columns(i * latent, latent); },
      [&](int64_t i) { return attended.columns(i * value_dim, value_dim); });  // [m, L] -> [m, V]
  return attended;
}

}  // namespace spnl::mistralrs
