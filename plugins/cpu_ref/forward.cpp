// The transformer as the papers have it: "Attention Is All You Need" with RMS norms before each
// part, rotary positions and gated feed-forward, as in Llama (arXiv:2302.13971). Plain loops; the
// only concessions to speed are that tokens of a prompt go through a matrix together and that rows
// are shared out to threads.
#include "forward.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "spnl/modelkit/error.h"

namespace spnl::cpu_ref {
namespace {

using modelkit::Activation;
using modelkit::LayerSpec;
using modelkit::RopePairs;
using modelkit::RopeSpec;

/// Sixteen partial sums, always in the same order: the compiler can use vector registers without
/// changing the result.
float dot(const float* a, const float* b, uint64_t n) {
  std::array<float, 16> sums{};
  uint64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (uint64_t lane = 0; lane < 16; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  for (; i < n; ++i) sums[i % 16] += a[i] * b[i];
  for (uint64_t width = 8; width > 0; width /= 2)
    for (uint64_t lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
  return sums[0];
}

/// x / rms(x) * (weight + offset)
void rms_norm(const float* x, const Matrix& weight, double offset, double eps, float* out) {
  const uint64_t n = weight.columns;
  double squares = 0;
  for (uint64_t i = 0; i < n; ++i) squares += double(x[i]) * x[i];
  const auto scale = static_cast<float>(1 / std::sqrt(squares / static_cast<double>(n) + eps));
  for (uint64_t i = 0; i < n; ++i)
    out[i] = x[i] * scale * (weight.data[i] + static_cast<float>(offset));
}

/// Turns each pair of one head by position * frequency; what lies beyond the rotary dimensions
/// stays.
void rotate(const RopeSpec& rope, uint64_t position, float* head) {
  const uint64_t pairs = rope.inv_freq.size();
  for (uint64_t i = 0; i < pairs; ++i) {
    const double angle = static_cast<double>(position) * rope.inv_freq[i];
    const auto c = static_cast<float>(std::cos(angle) * rope.magnitude);
    const auto s = static_cast<float>(std::sin(angle) * rope.magnitude);
    float& a = head[rope.pairs == RopePairs::kInterleaved ? 2 * i : i];
    float& b = head[rope.pairs == RopePairs::kInterleaved ? 2 * i + 1 : i + pairs];
    const float turned = a * c - b * s;
    b = a * s + b * c;
    a = turned;
  }
}

float softcap(double cap, float x) {
  return cap == 0 ? x : static_cast<float>(cap * std::tanh(x / cap));
}

void softmax(std::vector<float>& scores) {
  const float top = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (float& score : scores) sum += score = std::exp(score - top);
  for (float& score : scores) score = static_cast<float>(score / sum);
}

float activate(Activation activation, float x) {
  if (activation == Activation::kSilu) return x / (1 + std::exp(-x));
  constexpr float kSqrt2OverPi = 0.7978845608f;
  return 0.5f * x * (1 + std::tanh(kSqrt2OverPi * (x + 0.044715f * x * x * x)));
}

void rotate_heads(std::vector<float>& rows, const RopeSpec& rope, uint64_t position, uint64_t heads,
                  uint64_t head_dim) {
  for (uint64_t head = 0; head < rows.size() / head_dim; ++head)
    rotate(rope, position + head / heads, &rows[head * head_dim]);
}

}  // namespace

uint64_t KvCache::bytes() const {
  uint64_t floats = 0;
  for (const Layer& layer : layers) floats += layer.keys.capacity() + layer.values.capacity();
  return floats * sizeof(float);
}

Transformer::Transformer(const modelkit::ModelSpec& spec, const Weights& weights, ThreadPool& pool)
    : spec_(spec), pool_(pool) {
  const auto linear = [&](const modelkit::Linear& l) {
    return Linear{weights.find(l.weight), weights.find(l.bias)};
  };
  const auto norm = [&](const modelkit::Norm& n) {
    return Norm{weights.find(n.weight), n.eps, n.weight_offset};
  };
  embedding_ = weights.find(spec.embedding);
  output_norm_ = norm(spec.output_norm);
  output_ = linear(spec.output);
  for (const LayerSpec& layer : spec.layers) {
    const modelkit::AttentionSpec& a = layer.attention;
    layers_.push_back({norm(layer.pre_attention), norm(layer.pre_ffn), norm(a.q_norm),
                       norm(a.k_norm), linear(a.q), linear(a.k), linear(a.v), linear(a.o),
                       linear(layer.mlp.gate), linear(layer.mlp.up), linear(layer.mlp.down)});
  }
}

std::vector<float> Transformer::forward(std::span<const int32_t> ids, KvCache& cache) const {
  const uint64_t position = cache.tokens, hidden = spec_.hidden_size;
  cache.layers.resize(layers_.size());

  Rows x(ids.size() * hidden);
  for (size_t t = 0; t < ids.size(); ++t)
    for (uint64_t i = 0; i < hidden; ++i)
      x[t * hidden + i] = embedding_.row(static_cast<uint64_t>(ids[t]))[i] *
                          static_cast<float>(spec_.embedding_scale);

  try {
    for (size_t i = 0; i < layers_.size(); ++i) {
      const LayerSpec& spec = spec_.layers[i];
      const Layer& layer = layers_[i];
      add_scaled(
          x, attention(spec, layer, normalise(x, layer.pre_attention), position, cache.layers[i]));
      add_scaled(x, feed_forward(spec, layer, normalise(x, layer.pre_ffn)));
    }
  } catch (...) {
    for (size_t i = 0; i < layers_.size(); ++i) {
      const uint64_t width =
          uint64_t{spec_.layers[i].attention.kv_heads} * spec_.layers[i].attention.head_dim;
      cache.layers[i].keys.resize(position * width);
      cache.layers[i].values.resize(position * width);
    }
    throw;
  }
  cache.tokens += ids.size();
  return normalise(x, output_norm_);
}

void Transformer::logits(std::span<const float> hidden, std::span<float> out) const {
  pool_.run(spec_.vocab_size, 64, [&](uint64_t begin, uint64_t end) {
    for (uint64_t token = begin; token < end; ++token) {
      float logit = dot(output_.weight.row(token), hidden.data(), spec_.hidden_size);
      if (output_.bias) logit += output_.bias.data[token];
      out[token] = softcap(spec_.logit_softcap, logit * static_cast<float>(spec_.logit_scale));
    }
  });
}

Transformer::Rows Transformer::attention(const LayerSpec& layer_spec, const Layer& layer,
                                         const Rows& x, uint64_t position,
                                         KvCache::Layer& cache) const {
  const modelkit::AttentionSpec& spec = layer_spec.attention;
  const uint64_t d = spec.head_dim, kv_width = spec.kv_heads * d;
  Rows q = linear(layer.q, x), k = linear(layer.k, x);
  const Rows v = linear(layer.v, x);
  if (layer.q_norm.weight) q = normalise(q, layer.q_norm);
  if (layer.k_norm.weight) k = normalise(k, layer.k_norm);
  rotate_heads(q, spec_.ropes[spec.rope], position, spec.heads, d);
  rotate_heads(k, spec_.ropes[spec.rope], position, spec.kv_heads, d);
  cache.keys.insert(cache.keys.end(), k.begin(), k.end());
  cache.values.insert(cache.values.end(), v.begin(), v.end());

  Rows mixed(q.size());
  const uint64_t turns = q.size() / d;  // one per token and query head
  pool_.run(
      turns, std::max<uint64_t>(1, 32768 / ((position + 1) * d)),
      [&](uint64_t begin, uint64_t end) {
        for (uint64_t i = begin; i < end; ++i) {
          const uint64_t now = position + i / spec.heads, head = i % spec.heads;
          const uint64_t first =
              spec.window != 0 && now + 1 > spec.window ? now + 1 - spec.window : 0;
          const uint64_t kv =
              head / (spec.heads / spec.kv_heads) * d;  // query heads share key-value heads
          std::vector<float> scores(now + 1 - first);
          for (uint64_t past = first; past <= now; ++past) {
            const float score = dot(&q[i * d], &cache.keys[past * kv_width + kv], d);
            scores[past - first] = softcap(spec.softcap, score * static_cast<float>(spec.scale));
          }
          softmax(scores);
          for (uint64_t past = first; past <= now; ++past)
            for (uint64_t j = 0; j < d; ++j)
              mixed[i * d + j] += scores[past - first] * cache.values[past * kv_width + kv + j];
        }
      });
  return linear(layer.o, mixed);
}

Transformer::Rows Transformer::feed_forward(const LayerSpec& spec, const Layer& layer,
                                            const Rows& x) const {
  Rows inner = linear(layer.up, x);
  if (layer.gate.weight) {
    const Rows gate = linear(layer.gate, x);
    for (size_t i = 0; i < inner.size(); ++i) inner[i] *= activate(spec.mlp.activation, gate[i]);
  } else {
    for (float& value : inner) value = activate(spec.mlp.activation, value);
  }
  return linear(layer.down, inner);
}

Transformer::Rows Transformer::normalise(const Rows& x, const Norm& norm) const {
  Rows out(x.size());
  for (uint64_t at = 0; at < x.size(); at += norm.weight.columns)
    rms_norm(&x[at], norm.weight, norm.offset, norm.eps, &out[at]);
  return out;
}

Transformer::Rows Transformer::linear(const Linear& linear, const Rows& x) const {
  const Matrix& weight = linear.weight;
  const uint64_t tokens = x.size() / weight.columns;
  Rows out(tokens * weight.rows);
  pool_.run(weight.rows, std::max<uint64_t>(1, 32768 / (weight.columns * tokens)),
            [&](uint64_t begin, uint64_t end) {
              for (uint64_t row = begin; row < end; ++row)
                for (uint64_t t = 0; t < tokens; ++t)
                  out[t * weight.rows + row] =
                      dot(weight.row(row), &x[t * weight.columns], weight.columns) +
                      (linear.bias ? linear.bias.data[row] : 0);
            });
  return out;
}

void Transformer::add_scaled(Rows& x, const Rows& change) const {
  for (size_t i = 0; i < x.size(); ++i)
    x[i] += change[i] * static_cast<float>(spec_.residual_scale);
}

}  // namespace spnl::cpu_ref
