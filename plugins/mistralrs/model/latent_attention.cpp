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

  project_latents(w, n, q, key);
  project_heads(w.k_b, q, absorbed);  // of each head [m, N] -> [m, L]
  ops_.copy(q.by_head(nope + rope).columns(nope, rope),
            absorbed.by_head(latent + rope).columns(latent, rope));  // [m * H, R]
  attend(layer, absorbed, key, {}, batch, attended_latent);          // [m, H * L]
  project_heads(w.v_b, attended_latent, attended);  // of each head [m, L] -> [m, V]
  return attended;
}

/// The queries [m, H * (N + R)], maybe through a latent of their own, and what is cached [m, L +
/// R].
void Transformer::project_latents(const LoadedAttention& w, Rows n, Rows q, Rows key) {
  const LinearOutput to_key{w.kv_a.weight.get(), w.kv_a.bias.floats(), key};
  if (w.q_a) {
    const Rows q_latent = workspace_.q_latent(n.count, w.q_a.weight->rows());
    const LinearOutput outputs[] = {{w.q_a.weight.get(), w.q_a.bias.floats(), q_latent}, to_key};
    ops_.linear(n, outputs);  // [m, h] -> [m, q latent], [m, L + R]
    if (w.q_a_norm) norm(w.q_a_norm, q_latent, q_latent);
    linear(q_latent, w.q, q);  // [m, q latent] -> [m, H * (N + R)]
  } else {
    const LinearOutput outputs[] = {{w.q.weight.get(), w.q.bias.floats(), q}, to_key};
    ops_.linear(n, outputs);  // [m, h] -> [m, H * (N + R)], [m, L + R]
  }
  const Rows latent = key.columns(0, w.kv_a_norm.size);
  if (w.kv_a_norm) norm(w.kv_a_norm, latent, latent);
}

/// The first columns of each head of y: the head's matrix times the first columns of its x.
void Transformer::project_heads(const std::vector<MatrixPtr>& matrices, Rows x, Rows y) {
  const auto heads = static_cast<int64_t>(matrices.size());
  const int64_t x_head = x.width / heads, y_head = y.width / heads;
  outputs_.clear();
  groups_.clear();
  outputs_.reserve(matrices.size());  // groups_ point into it
  for (int64_t i = 0; i < heads; ++i) {
    const Matrix* matrix = matrices[static_cast<size_t>(i)].get();
    outputs_.push_back({matrix, nullptr, y.columns(i * y_head, matrix->rows())});
    groups_.push_back({x.columns(i * x_head, matrix->cols()), std::span(outputs_).last(1)});
  }
  ops_.linear(groups_);
}

}  // namespace spnl::mistralrs
