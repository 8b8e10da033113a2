#include "model/transformer.h"

#include <algorithm>

namespace spnl::mistralrs {
namespace {

/// As the layer's cache holds keys: in latent attention what turns comes after the latent.
cpu::Rope to_rope(const modelkit::RopeSpec& spec, const modelkit::AttentionSpec& attention) {
  cpu::Rope rope;
  if (spec.pairs == modelkit::RopePairs::kInterleaved) rope.kind = cpu::RopeKind::kInterleaved;
  rope.turns = {spec.inv_freq, spec.magnitude};
  if (spec.long_from != 0) rope.long_turns = {spec.long_inv_freq, spec.long_magnitude};
  rope.first_dim = static_cast<int32_t>(spec.first_dim);
  if (attention.latent && !spec.inv_freq.empty())
    rope.first_dim += static_cast<int32_t>(attention.latent.latent_dim) -
                      static_cast<int32_t>(attention.latent.nope_dim);
  return rope;
}

}  // namespace

Transformer::Transformer(const modelkit::ModelSpec& spec, const Weights& weights,
                         const KvCache& cache, Ops& ops, int64_t max_rows, int64_t max_logit_rows)
    : spec_(spec),
      weights_(weights),
      cache_(cache),
      ops_(ops),
      workspace_(spec, max_rows, max_logit_rows) {
  for (const modelkit::LayerSpec& layer : spec.layers)
    ropes_.push_back(to_rope(spec.ropes[layer.attention.rope], layer.attention));
}

void Transformer::forward(const Batch& batch) {
  ops_.embed(weights_.embedding, batch.ids, static_cast<float>(spec_.embedding_scale),
             workspace_.hidden(batch.rows()));  // [m, h]
  for (size_t layer = 0; layer < spec_.layers.size(); ++layer) run_layer(layer, batch);
}

/// serial:    x += post(o(attention(pre(x))));  x += post(ffn(pre(x)))
/// parallel:  n = pre(x);  x += o(attention(n)) + ffn(n)
void Transformer::run_layer(size_t layer, const Batch& batch) {
  const modelkit::LayerSpec& spec = spec_.layers[layer];
  const LayerWeights& w = weights_.layers[layer];
  const Rows x = workspace_.hidden(batch.rows());  // [m, h]
  Rows n = normed(w.pre_attention, x);             // [m, h]
  const Rows attended = spec.attention.latent ? latent_attention(layer, n, batch)
                                              : attention(layer, n, batch);  // [m, H * v]
  add_branch(attended, w.attention.o, w.post_attention);

  if (!spec.parallel) n = normed(w.pre_ffn, x);  // [m, h]
  if (spec.experts)
    add_branch(experts(spec.experts, w.experts, n), w.post_ffn);
  else
    add_branch(feed_forward(spec.mlp, w.mlp, n), w.mlp.down, w.post_ffn);
}

void Transformer::linear(Rows x, const LoadedLinear& linear, Rows y, bool accumulate) {
  const LinearOutput output[] = {{linear.weight.get(), linear.bias.floats(), y, accumulate}};
  ops_.linear(x, output);
}

void Transformer::norm(const LoadedNorm& norm, Rows x, Rows y) {
  cpu::NormParams params = norm.params;
  params.weight_rows = norm.size / x.width;
  ops_.norm(params, x, y);
}

/// x itself where the layer has no norm there.
Rows Transformer::normed(const LoadedNorm& norm_weights, Rows x) {
  if (!norm_weights) return x;
  const Rows n = workspace_.normed(x.count);
  norm(norm_weights, x, n);
  return n;
}

/// residual += residual_scale * post(linear(x))
void Transformer::add_branch(Rows x, const LoadedLinear& last, const LoadedNorm& post) {
  if (!post && spec_.residual_scale == 1.0) {
    linear(x, last, workspace_.hidden(x.count), /*accumulate=*/true);
    return;
  }
  const Rows branch = workspace_.branch(x.count);
  linear(x, last, branch);
  add_branch(branch, post);
}

void Transformer::add_branch(Rows branch, const LoadedNorm& post) {
  if (post) norm(post, branch, branch);
  ops_.add_scaled(branch, static_cast<float>(spec_.residual_scale),
                  workspace_.hidden(branch.count));
}

Rows Transformer::logits(std::span<const int32_t> rows) {
  const auto m = static_cast<int64_t>(rows.size());
  const int64_t h = spec_.hidden_size;
  const Rows picked = workspace_.branch(m), logits = workspace_.logits(m);
  const float* hidden = workspace_.hidden(m).data;
  for (int64_t i = 0; i < m; ++i)
    std::copy_n(hidden + rows[static_cast<size_t>(i)] * h, h, picked.data + i * h);  // [m, h]
  linear(normed(weights_.output_norm, picked), weights_.output, logits);             // [m, vocab]
  if (spec_.logit_scale != 1 || spec_.logit_softcap > 0)
    ops_.scale_and_cap(static_cast<float>(spec_.logit_scale),
                       static_cast<float>(spec_.logit_softcap), logits);
  return logits;
}

}  // namespace spnl::mistralrs
