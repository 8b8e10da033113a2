#pragma once
#include <vector>

#include "layers.h"

namespace spnl::cpu_ref {

/// down(activation(gate x) * (up x)) (arXiv:2002.05202), or down(activation(up x)).
class Mlp {
 public:
  Mlp(const modelkit::Mlp& spec, const Weights& weights);

  explicit operator bool() const { return static_cast<bool>(down_); }
  Rows apply(const Rows& x, ThreadPool& pool) const;

 private:
  modelkit::Activation activation_;
  Linear gate_, up_, down_;
};

/// An expert that a token goes to, and the weight of its answer.
struct Choice {
  uint32_t expert;
  float weight;
};

/// The experts for one token, by its router's logits. `selection_bias`: null for none.
std::vector<Choice> choose_experts(const modelkit::Experts& rule, const std::vector<float>& logits,
                                   const float* selection_bias);

/// The feed-forward part of one layer: one network, or a mixture of experts (arXiv:1701.06538).
/// Const: thread-safe.
class FeedForward {
 public:
  /// All must outlive the object.
  FeedForward(const modelkit::LayerSpec& spec, const Weights& weights, ThreadPool& pool);

  Rows apply(const Rows& x) const;  ///< [token][hidden] both

 private:
  Rows mixture(const Rows& x) const;
  void add_shared(const Rows& x, Rows& out) const;

  const modelkit::Experts& rule_;
  ThreadPool& pool_;
  Mlp mlp_, shared_;
  Linear router_;
  Matrix selection_bias_, shared_gate_;
  std::vector<Mlp> experts_;
};

}  // namespace spnl::cpu_ref
