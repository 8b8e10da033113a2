#include "model/transformer.h"

#include <algorithm>
#include <cmath>

namespace spnl::mistralrs {
namespace {

cpu::Rope to_rope(const modelkit::RopeSpec& spec) {
  const bool interleaved = spec.pairs == modelkit::RopePairs::kInterleaved;
  return {interleaved ? cpu::RopeKind::kInterleaved : cpu::RopeKind::kHalfSplit, spec.inv_freq,
          spec.magnitude};
}

cpu::Activation to_activation(modelkit::Activation activation) {
  return activation == modelkit::Activation::kSilu ? cpu::Activation::kSilu
                                                   : cpu::Activation::kGeluTanh;
}

/// [m, heads * head_dim] seen as [m * heads, head_dim].
Rows by_head(Rows x, int64_t head_dim) {
  return {x.data, x.count * (x.width / head_dim), head_dim};
}

}  // namespace

Transformer::Transformer(const modelkit::ModelSpec& spec, const Weights& weights,
                         const KvCache& cache, Ops& ops, int64_t max_rows, int64_t max_logit_rows)
    : spec_(spec),
      weights_(weights),
      cache_(cache),
      ops_(ops),
      workspace_(spec, max_rows, max_logit_rows) {
  for (const modelkit::RopeSpec& rope : spec.ropes) ropes_.push_back(to_rope(rope));
}

void Transformer::forward(const Batch& batch) {
  const int64_t m = batch.rows();
  ops_.embed(weights_.embedding, batch.ids, static_cast<float>(spec_.embedding_scale),
             workspace_.hidden(m));
  for (size_t layer = 0; layer < spec_.layers.size(); ++layer) {
    attention(layer, batch);
    feed_forward(layer, m);
  }
}

/// x += o(attend(rope(q(norm(x))), cached rope(k), v))   with h = hidden size, H = heads, K = kv
/// heads, d = head_dim
void Transformer::attention(size_t layer, const Batch& batch) {
  const modelkit::AttentionSpec& spec = spec_.layers[layer].attention;
  const LayerWeights& w = weights_.layers[layer];
  const cpu::Rope& rope = ropes_[spec.rope];
  const int64_t m = batch.rows(), d = spec.head_dim;
  const Rows x = workspace_.hidden(m), normed = workspace_.normed(m);  // [m, h]
  const Rows q = workspace_.q(m, spec.heads * d);                      // [m, H * d]
  const Rows k = workspace_.k(m, spec.kv_heads * d);                   // [m, K * d]
  const Rows v = workspace_.v(m, spec.kv_heads * d);                   // [m, K * d]
  const Rows attended = workspace_.attended(m, spec.heads * d);        // [m, H * d]

  norm(w.pre_attention, x, normed);  // [m, h]
  const LinearOutput qkv[] = {{w.q.weight.get(), w.q.bias.floats(), q},
                              {w.k.weight.get(), w.k.bias.floats(), k},
                              {w.v.weight.get(), w.v.bias.floats(), v}};
  ops_.linear(normed, qkv);  // [m, H * d], [m, K * d] twice
  if (w.q_norm.weight.data != nullptr) norm(w.q_norm, by_head(q, d), by_head(q, d));
  if (w.k_norm.weight.data != nullptr) norm(w.k_norm, by_head(k, d), by_head(k, d));
  ops_.rope_store(rope, cache_.layer(layer), k, v, batch.positions, batch.slots);
  const cpu::AttentionParams params{
      static_cast<int32_t>(spec.heads), static_cast<float>(spec.scale),
      static_cast<float>(spec.softcap), static_cast<int32_t>(spec.window)};
  ops_.paged_attention(rope, cache_.layer(layer), params, q, batch.positions, batch.sequences,
                       attended);        // [m, H * d]
  project_into_residual(attended, w.o);  // [m, h]
}

/// x += down(activation(gate(norm(x))) * up(norm(x)))   with f = ffn size
void Transformer::feed_forward(size_t layer, int64_t m) {
  const modelkit::Mlp& spec = spec_.layers[layer].mlp;
  const LayerWeights& w = weights_.layers[layer];
  const Rows x = workspace_.hidden(m), normed = workspace_.normed(m);                 // [m, h]
  const Rows gate = workspace_.gate(m, spec.size), up = workspace_.up(m, spec.size);  // [m, f]

  norm(w.pre_ffn, x, normed);  // [m, h]
  const LinearOutput gate_up[] = {{w.gate.weight.get(), w.gate.bias.floats(), gate},
                                  {w.up.weight.get(), w.up.bias.floats(), up}};
  ops_.linear(normed, gate_up);                                     // [m, f] twice
  ops_.gated_activation(to_activation(spec.activation), gate, up);  // [m, f]
  project_into_residual(gate, w.down);                              // [m, h]
}

void Transformer::norm(const LoadedNorm& norm, Rows x, Rows y) {
  ops_.rms_norm(x, norm.weight.floats(), norm.eps, norm.weight_offset, y);
}

void Transformer::project_into_residual(Rows x, const LoadedLinear& linear) {
  const Rows hidden = workspace_.hidden(x.count);
  if (spec_.residual_scale == 1.0) {
    const LinearOutput output[] = {
        {linear.weight.get(), linear.bias.floats(), hidden, /*accumulate=*/true}};
    ops_.linear(x, output);
    return;
  }
  const Rows branch = workspace_.branch(x.count);
  const LinearOutput output[] = {{linear.weight.get(), linear.bias.floats(), branch}};
  ops_.linear(x, output);
  ops_.add_scaled(branch, static_cast<float>(spec_.residual_scale), hidden);
}

Rows Transformer::logits(std::span<const int32_t> rows) {
  const auto m = static_cast<int64_t>(rows.size());
  const int64_t h = spec_.hidden_size;
  const Rows picked = workspace_.branch(m), normed = workspace_.normed(m),
             logits = workspace_.logits(m);
  const float* hidden = workspace_.hidden(m).data;
  for (int64_t i = 0; i < m; ++i)
    std::copy_n(hidden + rows[i] * h, h, picked.data + i * h);  // [m, h]
  norm(weights_.output_norm, picked, normed);                   // [m, h]
  const LinearOutput output[] = {
      {weights_.output.weight.get(), weights_.output.bias.floats(), logits}};
  ops_.linear(normed, output);  // [m, vocab]
  const float scale = static_cast<float>(spec_.logit_scale),
              cap = static_cast<float>(spec_.logit_softcap);
  if (scale != 1.0f || cap > 0)
    for (int64_t i = 0; i < m * logits.width; ++i) {
      float& logit = logits.data[i];
      logit *= scale;
      if (cap > 0) logit = cap * std::tanh(logit / cap);
    }
  return logits;
}

}  // namespace spnl::mistralrs
