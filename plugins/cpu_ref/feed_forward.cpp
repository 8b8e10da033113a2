#include "feed_forward.h"

#include <algorithm>
#include <cmath>

namespace spnl::cpu_ref {
namespace {

using modelkit::Activation;

float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

float activate(Activation activation, float x) {
  constexpr float kSqrt2OverPi = 0.7978845608f, kSqrtHalf = 0.7071067812f;
  switch (activation) {
    case Activation::kSilu:
      return x * sigmoid(x);
    case Activation::kGeluTanh:
      return 0.5f * x * (1 + std::tanh(kSqrt2OverPi * (x + 0.044715f * x * x * x)));
    case Activation::kGeluErf:
      return 0.5f * x * (1 + std::erf(x * kSqrtHalf));
    case Activation::kReluSquared:
      return x > 0 ? x * x : 0;
    case Activation::kClampedSwiglu:
      x = std::min(x, 7.0f);
      return x * sigmoid(1.702f * x);
  }
  return x;
}

float gated(Activation activation, float gate, float up) {
  if (activation == Activation::kClampedSwiglu) up = std::clamp(up, -7.0f, 7.0f) + 1;
  return activate(activation, gate) * up;
}

}  // namespace

Mlp::Mlp(const modelkit::Mlp& spec, const Weights& weights)
    : activation_(spec.activation),
      gate_(find(weights, spec.gate)),
      up_(find(weights, spec.up)),
      down_(find(weights, spec.down)) {}

Rows Mlp::apply(const Rows& x, ThreadPool& pool) const {
  Rows inner = cpu_ref::apply(up_, x, pool);
  const Rows gate = gate_ ? cpu_ref::apply(gate_, x, pool) : Rows();
  for (size_t i = 0; i < inner.size(); ++i)
    inner[i] = gate_ ? gated(activation_, gate[i], inner[i]) : activate(activation_, inner[i]);
  return cpu_ref::apply(down_, inner, pool);
}

FeedForward::FeedForward(const modelkit::LayerSpec& spec, const Weights& weights, ThreadPool& pool)
    : rule_(spec.experts),
      pool_(pool),
      mlp_(spec.mlp, weights),
      shared_(spec.experts.shared, weights),
      router_(find(weights, spec.experts.router)),
      selection_bias_(weights.find(spec.experts.selection_bias)),
      shared_gate_(weights.find(spec.experts.shared_gate)) {
  for (const modelkit::Mlp& expert : spec.experts.experts) experts_.emplace_back(expert, weights);
}

Rows FeedForward::apply(const Rows& x) const {
  return experts_.empty() ? mlp_.apply(x, pool_) : mixture(x);
}

Rows FeedForward::mixture(const Rows& x) const {
  const uint64_t hidden = router_.weight.columns, tokens = x.size() / hidden;
  const Rows logits = cpu_ref::apply(router_, x, pool_);
  struct Visit {
    uint64_t token;
    float weight;
  };
  std::vector<std::vector<Visit>> visits(experts_.size());
  for (uint64_t t = 0; t < tokens; ++t) {
    const float* own = &logits[t * experts_.size()];
    for (const Choice& choice :
         choose_experts(rule_, Rows(own, own + experts_.size()), selection_bias_.data))
      visits[choice.expert].push_back({t, choice.weight});
  }
  // Expert by expert: the order in which a token's answers are summed depends on nothing else.
  Rows out(x.size());
  for (size_t e = 0; e < experts_.size(); ++e) {
    Rows visitors;
    for (const Visit& visit : visits[e])
      visitors.insert(visitors.end(), &x[visit.token * hidden], &x[visit.token * hidden] + hidden);
    if (visitors.empty()) continue;
    const Rows answers = experts_[e].apply(visitors, pool_);
    for (size_t v = 0; v < visits[e].size(); ++v)
      for (uint64_t i = 0; i < hidden; ++i)
        out[visits[e][v].token * hidden + i] += visits[e][v].weight * answers[v * hidden + i];
  }
  if (shared_) add_shared(x, out);
  return out;
}

void FeedForward::add_shared(const Rows& x, Rows& out) const {
  const Rows answers = shared_.apply(x, pool_);
  const uint64_t hidden = router_.weight.columns;
  for (uint64_t i = 0; i < x.size(); ++i) {
    const float* row = &x[i / hidden * hidden];
    const float weight = shared_gate_ ? sigmoid(dot(shared_gate_.data, row, hidden)) : 1;
    out[i] += weight * answers[i];
  }
}

}  // namespace spnl::cpu_ref
