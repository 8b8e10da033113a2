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
  ops_.embed(*weights_.embedding, batch.ids, static_cast<float>(spec_.embedding_scale),
             workspace_.hidden(m));
  for (size_t layer = 0; layer < spec_.layers.size(); ++layer) {
    attention(layer, batch);
    feed_forward(layer, m);
  }
}

/// x += o(attend(rope(q(norm(x))), cached rope(k), v))   with h = hidden size, H = heads, K = kv
/// heads, d = head_dim
void Transformer::attention(size_t layer, const Batch& batch) {
  const modelkit::LayerSpec& spec = spec_.layers[layer];
  const LayerWeights& w = weights_.layers[layer];
  const cpu::Rope& rope = ropes_[spec.rope];
  const int64_t m = batch.rows(), d = spec.head_dim;
  const float eps = static_cast<float>(spec_.norm_eps),
              offset = static_cast<float>(spec_.norm_weight_offset);
  const Rows x = workspace_.hidden(m), normed = workspace_.normed(m);  // [m, h]
  const Rows q = workspace_.q(m, spec.heads * d);                      // [m, H * d]
  const Rows k = workspace_.k(m, spec.kv_heads * d);                   // [m, K * d]
  const Rows v = workspace_.v(m, spec.kv_heads * d);                   // [m, K * d]
  const Rows attended = workspace_.attended(m, spec.heads * d);        // [m, H * d]

  ops_.rms_norm(x, w.attention_norm.floats(), eps, offset, normed);  // [m, h]
  const LinearOutput qkv[] = {{w.q.get(), w.q_bias.floats(), q},
                              {w.k.get(), w.k_bias.floats(), k},
                              {w.v.get(), w.v_bias.floats(), v}};
  ops_.linear(normed, qkv);  // [m, H * d], [m, K * d] twice
  if (w.q_norm.data != nullptr)
    ops_.rms_norm(by_head(q, d), w.q_norm.floats(), eps, offset, by_head(q, d));
  if (w.k_norm.data != nullptr)
    ops_.rms_norm(by_head(k, d), w.k_norm.floats(), eps, offset, by_head(k, d));
  ops_.rope_store(rope, cache_.layer(layer), k, v, batch.positions, batch.slots);
  const cpu::AttentionParams params{
      static_cast<int32_t>(spec.heads), static_cast<float>(spec.attention_scale),
      static_cast<float>(spec.attention_softcap), static_cast<int32_t>(spec.window)};
  ops_.paged_attention(rope, cache_.layer(layer), params, q, batch.positions, batch.sequences,
                       attended);                  // [m, H * d]
  project_into_residual(attended, w.o, w.o_bias);  // [m, h]
}

/// x += down(activation(gate(norm(x))) * up(norm(x)))   with f = ffn size
void Transformer::feed_forward(size_t layer, int64_t m) {
  const modelkit::LayerSpec& spec = spec_.layers[layer];
  const LayerWeights& w = weights_.layers[layer];
  const float eps = static_cast<float>(spec_.norm_eps),
              offset = static_cast<float>(spec_.norm_weight_offset);
  const Rows x = workspace_.hidden(m), normed = workspace_.normed(m);  // [m, h]
  const Rows gate = workspace_.gate(m, spec.ffn_size),
             up = workspace_.up(m, spec.ffn_size);  // [m, f]

  ops_.rms_norm(x, w.ffn_norm.floats(), eps, offset, normed);  // [m, h]
  const LinearOutput gate_up[] = {{w.gate.get(), w.gate_bias.floats(), gate},
                                  {w.up.get(), w.up_bias.floats(), up}};
  ops_.linear(normed, gate_up);                                     // [m, f] twice
  ops_.gated_activation(to_activation(spec.activation), gate, up);  // [m, f]
  project_into_residual(gate, w.down, w.down_bias);                 // [m, h]
}

void Transformer::project_into_residual(Rows x, const MatrixPtr& weight, const Memory& bias) {
  const Rows hidden = workspace_.hidden(x.count);
  if (spec_.residual_scale == 1.0) {
    const LinearOutput output[] = {{weight.get(), bias.floats(), hidden, /*accumulate=*/true}};
    ops_.linear(x, output);
    return;
  }
  const Rows branch = workspace_.branch(x.count);
  const LinearOutput output[] = {{weight.get(), bias.floats(), branch}};
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
  ops_.rms_norm(picked, weights_.output_norm.floats(), static_cast<float>(spec_.norm_eps),
                static_cast<float>(spec_.norm_weight_offset), normed);  // [m, h]
  const LinearOutput output[] = {{weights_.output.get(), weights_.output_bias.floats(), logits}};
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
