#include "attention.h"

#include <algorithm>
#include <cmath>

namespace spnl::cpu_ref {
Attention::Attention(const modelkit::AttentionSpec& spec, const modelkit::RopeSpec& rope,
                     const Weights& weights, ThreadPool& pool)
    : spec_(spec),
      rope_(rope),
      pool_(pool),
      q_(find(weights, spec.q)),
      k_(find(weights, spec.k)),
      v_(find(weights, spec.v)),
      o_(find(weights, spec.o)),
      q_a_(find(weights, spec.latent.q_a)),
      kv_a_(find(weights, spec.latent.kv_a)),
      q_norm_(find(weights, spec.q_norm)),
      k_norm_(find(weights, spec.k_norm)),
      q_a_norm_(find(weights, spec.latent.q_a_norm)),
      kv_a_norm_(find(weights, spec.latent.kv_a_norm)),
      sinks_(weights.find(spec.sinks)) {
  for (const modelkit::Weight& weight : spec.latent.k_b) k_b_.push_back(weights.find(weight));
  for (const modelkit::Weight& weight : spec.latent.v_b) v_b_.push_back(weights.find(weight));
}

Rows Attention::apply(const Rows& x, const Step& step, KvCache::Layer& cache) const {
  if (spec_.latent) return apply_latent(x, step, cache);
  const uint64_t size = spec_.head_dim, value_size = spec_.value_dim;
  Rows q = cpu_ref::apply(q_norm_, cpu_ref::apply(q_, x, pool_));
  Rows k = cpu_ref::apply(k_norm_, cpu_ref::apply(k_, x, pool_));
  const Rows v = cpu_ref::apply(v_, x, pool_);
  turn(q, spec_.heads, size, rope_.first_dim, step);
  turn(k, spec_.kv_heads, size, rope_.first_dim, step);
  cache.keys.insert(cache.keys.end(), k.begin(), k.end());
  cache.values.insert(cache.values.end(), v.begin(), v.end());
  const Rows mixed = mix(q, step.position,
                         {cache.keys.data(), cache.values.data(), size, value_size,
                          spec_.kv_heads * size, spec_.kv_heads * value_size});
  return cpu_ref::apply(o_, mixed, pool_);
}

/// Multi-head latent attention (arXiv:2405.04434) in the absorbed form: instead of making keys of
/// the latents, queries are turned into what meets the latents; values are made after mixing.
Rows Attention::apply_latent(const Rows& x, const Step& step, KvCache::Layer& cache) const {
  const uint64_t latent = spec_.latent.latent_dim, rope = spec_.latent.rope_dim;
  const uint64_t size = latent + rope, head_dim = spec_.head_dim, nope = spec_.latent.nope_dim;

  Rows kv = cpu_ref::apply(kv_a_, x, pool_);  // [token][latent, rope]
  for (uint64_t at = 0; at < kv.size(); at += size) {
    const Rows normed = cpu_ref::apply(kv_a_norm_, Rows(&kv[at], &kv[at] + latent));
    std::copy(normed.begin(), normed.end(), &kv[at]);
  }
  turn(kv, 1, size, latent, step);
  cache.keys.insert(cache.keys.end(), kv.begin(), kv.end());

  Rows q = q_a_ ? cpu_ref::apply(q_a_norm_, cpu_ref::apply(q_a_, x, pool_)) : x;
  q = cpu_ref::apply(q_, q, pool_);  // [token][head][nope, rope]
  turn(q, spec_.heads, head_dim, nope, step);
  const Rows absorbed = per_head(k_b_, q, head_dim);  // [token][head][latent]
  Rows queries(absorbed.size() / latent * size);      // [token][head][latent, rope]
  for (uint64_t i = 0; i * head_dim < q.size(); ++i) {
    std::copy_n(&absorbed[i * latent], latent, &queries[i * size]);
    std::copy_n(&q[i * head_dim + nope], rope, &queries[i * size + latent]);
  }
  const Rows mixed =
      mix(queries, step.position, {cache.keys.data(), cache.keys.data(), size, latent, size, size});
  return cpu_ref::apply(o_, per_head(v_b_, mixed, latent), pool_);
}

void Attention::turn(Rows& rows, uint64_t heads, uint64_t size, uint64_t first,
                     const Step& step) const {
  for (uint64_t i = 0; i < rows.size() / size; ++i)
    rotate(rope_, step.is_long && rope_.long_from != 0, step.position + i / heads,
           &rows[i * size + first]);
}

/// rows: [token][head][row_size], of which the head's matrix sees the first columns.
Rows Attention::per_head(const std::vector<Matrix>& matrices, const Rows& rows,
                         uint64_t row_size) const {
  const uint64_t out_size = matrices[0].rows, heads = matrices.size();
  Rows out(rows.size() / row_size * out_size);
  pool_.run(rows.size() / row_size, 1, [&](uint64_t begin, uint64_t end) {
    for (uint64_t i = begin; i < end; ++i) {
      const Matrix& matrix = matrices[i % heads];
      for (uint64_t row = 0; row < out_size; ++row)
        out[i * out_size + row] = dot(matrix.row(row), &rows[i * row_size], matrix.columns);
    }
  });
  return out;
}

/// For each token and query head the values before and at it, each with the share that softmax
/// gives to its key's product with the query.
Rows Attention::mix(const Rows& queries, uint64_t position, const Seen& seen) const {
  const uint64_t turns = queries.size() / seen.key_size;  // one for each token and query head
  const uint64_t group = spec_.heads / spec_.kv_heads;    // query heads that share a key
  Rows mixed(turns * seen.value_size);
  const uint64_t grain = 32768 / ((position + 1) * seen.key_size);
  pool_.run(turns, std::max<uint64_t>(1, grain), [&](uint64_t begin, uint64_t end) {
    for (uint64_t i = begin; i < end; ++i) {
      const uint64_t now = position + i / spec_.heads, head = i % spec_.heads;
      const uint64_t first =
          spec_.window != 0 && now + 1 > spec_.window ? now + 1 - spec_.window : 0;
      const float* keys = seen.keys + head / group * seen.key_size;
      const float* values = seen.values + head / group * seen.value_size;
      std::vector<float> scores(now + 1 - first);
      for (uint64_t past = first; past <= now; ++past) {
        const float score =
            dot(&queries[i * seen.key_size], keys + past * seen.key_stride, seen.key_size);
        scores[past - first] = softcap(spec_.softcap, score * static_cast<float>(spec_.scale));
      }
      softmax(scores, sinks_ ? sinks_.data + head : nullptr);
      for (uint64_t past = first; past <= now; ++past)
        for (uint64_t j = 0; j < seen.value_size; ++j)
          mixed[i * seen.value_size + j] +=
              scores[past - first] * values[past * seen.value_stride + j];
    }
  });
  return mixed;
}

}  // namespace spnl::cpu_ref
