#include "forward.h"

#include <algorithm>

namespace spnl::cpu_ref {

Transformer::Transformer(const modelkit::ModelSpec& spec, const Weights& weights, ThreadPool& pool)
    : spec_(spec),
      pool_(pool),
      embedding_(weights.find(spec.embedding)),
      output_norm_(find(weights, spec.output_norm)),
      output_(find(weights, spec.output)) {
  for (const modelkit::LayerSpec& layer : spec.layers)
    layers_.push_back({find(weights, layer.pre_attention), find(weights, layer.post_attention),
                       find(weights, layer.pre_ffn), find(weights, layer.post_ffn),
                       Attention(layer.attention, spec.ropes[layer.attention.rope], weights, pool),
                       FeedForward(layer, weights, pool)});
  for (const modelkit::RopeSpec& rope : spec.ropes)
    if (rope.long_from != 0) long_from_ = rope.long_from;
}

std::vector<float> Transformer::forward(std::span<const int32_t> ids, KvCache& cache,
                                        uint64_t length) const {
  length = std::max<uint64_t>(length, cache.ids.size() + ids.size());
  if (long_from_ == 0 || length <= long_from_ || cache.is_long) return evaluate(ids, cache);
  std::vector<int32_t> all = cache.ids;
  all.insert(all.end(), ids.begin(), ids.end());
  KvCache fresh;
  fresh.is_long = true;
  Rows hidden = evaluate(all, fresh);
  cache = std::move(fresh);
  hidden.erase(hidden.begin(),
               hidden.end() - static_cast<std::ptrdiff_t>(ids.size() * spec_.hidden_size));
  return hidden;
}

Rows Transformer::evaluate(std::span<const int32_t> ids, KvCache& cache) const {
  const uint64_t hidden = spec_.hidden_size;
  Rows x(ids.size() * hidden);
  for (size_t t = 0; t < ids.size(); ++t)
    for (uint64_t i = 0; i < hidden; ++i)
      x[t * hidden + i] = embedding_.row(static_cast<uint64_t>(ids[t]))[i] *
                          static_cast<float>(spec_.embedding_scale);

  cache.layers.resize(layers_.size());
  std::vector<std::pair<size_t, size_t>> before;
  for (const KvCache::Layer& layer : cache.layers)
    before.emplace_back(layer.keys.size(), layer.values.size());
  try {
    const Step step{cache.ids.size(), cache.is_long};
    for (size_t i = 0; i < layers_.size(); ++i) apply(i, step, cache.layers[i], x);
    cache.ids.insert(cache.ids.end(), ids.begin(), ids.end());
  } catch (...) {
    for (size_t i = 0; i < layers_.size(); ++i) {
      cache.layers[i].keys.resize(before[i].first);
      cache.layers[i].values.resize(before[i].second);
    }
    throw;
  }
  return cpu_ref::apply(output_norm_, std::move(x));
}

void Transformer::apply(size_t index, const Step& step, KvCache::Layer& cache, Rows& x) const {
  const Layer& layer = layers_[index];
  const Rows normed = cpu_ref::apply(layer.pre_attention, x);
  const Rows attended = layer.attention.apply(normed, step, cache);
  add_scaled(x, cpu_ref::apply(layer.post_attention, attended));
  if (spec_.layers[index].parallel)
    add_scaled(x, layer.ffn.apply(normed));
  else
    add_scaled(x,
               cpu_ref::apply(layer.post_ffn, layer.ffn.apply(cpu_ref::apply(layer.pre_ffn, x))));
}

void Transformer::add_scaled(Rows& x, const Rows& change) const {
  for (size_t i = 0; i < x.size(); ++i)
    x[i] += change[i] * static_cast<float>(spec_.residual_scale);
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

}  // namespace spnl::cpu_ref
