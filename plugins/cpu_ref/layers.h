#pragma once
/// The parts that all layers are made of, with their weights.
#include <vector>

#include "spnl/modelkit/model_spec.h"
#include "thread_pool.h"
#include "weights.h"

namespace spnl::cpu_ref {

using Rows = std::vector<float>;  ///< [token][width]

/// y = weight x + bias
struct Linear {
  Matrix weight, bias;

  explicit operator bool() const { return static_cast<bool>(weight); }
};

struct Norm {
  Matrix weight, bias;
  modelkit::NormKind kind = modelkit::NormKind::kRms;
  double eps = 0, offset = 0;

  explicit operator bool() const { return static_cast<bool>(weight); }
};

Linear find(const Weights& weights, const modelkit::Linear& linear);
Norm find(const Weights& weights, const modelkit::Norm& norm);

Rows apply(const Linear& linear, const Rows& x, ThreadPool& pool);

/// Norms each stretch of x as long as a row of the weight; if that has several rows, they take
/// turns. A norm without weight leaves x as it is.
Rows apply(const Norm& norm, Rows x);

/// The products of two vectors, summed in an order that depends on nothing but n.
float dot(const float* a, const float* b, uint64_t n);

/// cap * tanh(x / cap), for a cap of 0 x itself.
float softcap(double cap, float x);

/// Scores to shares that sum to 1. `sink`: one more score, which takes its share and is dropped;
/// null: none.
void softmax(std::vector<float>& scores, const float* sink = nullptr);

/// Turns the pairs of a head by position * frequency. `first`: the first rotary dimension.
void rotate(const modelkit::RopeSpec& rope, bool is_long, uint64_t position, float* first);

}  // namespace spnl::cpu_ref
