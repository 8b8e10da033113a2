#include "ops/cpu/experts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/cpu/for_each_row.h"
#include "ops/cpu/kernel_table.h"

namespace spnl::mistralrs::cpu {
namespace {

using modelkit::Gating;

constexpr float kNegInf = -std::numeric_limits<float>::infinity();

/// Memory of one thread: the size of a router's output.
struct Scores {
  std::vector<float> probabilities, selection, groups;
  std::vector<uint8_t> taken;
};

void softmax(float* x, size_t n) {
  const float top = *std::max_element(x, x + n);
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += x[i] = std::exp(x[i] - top);
  for (size_t i = 0; i < n; ++i) x[i] = static_cast<float>(x[i] / sum);
}

/// The best that is not taken yet. What is no number loses against what comes before it.
size_t best_of(const float* scores, size_t n, std::vector<uint8_t>& taken) {
  size_t best = n;
  for (size_t i = 0; i < n; ++i) {
    if (taken[i] == 0 && (best == n || scores[i] > scores[best])) best = i;
  }
  taken[best] = 1;
  return best;
}

/// Scores outside the best groups become -inf.
void keep_best_groups(const RouterParams& p, Scores& s) {
  const auto groups = static_cast<size_t>(p.groups), size = s.selection.size() / groups;
  s.groups.assign(groups, kNegInf);
  for (size_t g = 0; g < groups; ++g) {
    float first = kNegInf, second = kNegInf;
    for (size_t i = g * size; i < (g + 1) * size; ++i) {
      const float score = s.selection[i];
      second = std::max(second, std::min(first, score));
      first = std::max(first, score);
    }
    s.groups[g] = p.group_score_is_top_two && size > 1 ? first + second : first;
  }
  s.taken.assign(groups, 0);
  for (int32_t i = 0; i < p.groups_used; ++i) best_of(s.groups.data(), groups, s.taken);
  for (size_t i = 0; i < s.selection.size(); ++i)
    if (s.taken[i / size] == 0) s.selection[i] = kNegInf;
}

/// Each pick has a softmax of its own over the logits that are near the best one left.
void sparse_mixer(const RouterParams& p, const float* logits, Scores& s, int32_t* experts,
                  float* weights) {
  const auto n = static_cast<size_t>(p.experts);
  s.taken.assign(n, 0);
  for (int32_t pick = 0; pick < p.used; ++pick) {
    const std::vector<uint8_t>& before = s.taken;
    s.selection.resize(n);
    for (size_t i = 0; i < n; ++i) s.selection[i] = before[i] != 0 ? kNegInf : logits[i];
    const size_t best = best_of(logits, n, s.taken);
    const float top = logits[best];
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
      const bool far = (top - logits[i]) / std::max(std::fabs(logits[i]), top) > 2 * p.jitter;
      if (!far) sum += std::exp(s.selection[i] - top);
    }
    experts[pick] = static_cast<int32_t>(best);
    weights[pick] = static_cast<float>(p.scale / sum);
  }
}

void route_row(const RouterParams& p, const float* logits, int32_t* experts, float* weights) {
  static thread_local Scores s;
  if (p.gating == Gating::kSparseMixer) return sparse_mixer(p, logits, s, experts, weights);
  const auto n = static_cast<size_t>(p.experts);
  s.probabilities.assign(logits, logits + n);
  if (p.gating == Gating::kSoftmax) softmax(s.probabilities.data(), n);
  if (p.gating == Gating::kSigmoid)
    for (float& x : s.probabilities) x = 1 / (1 + std::exp(-x));
  s.selection = s.probabilities;
  if (p.selection_bias != nullptr)
    for (size_t i = 0; i < n; ++i) s.selection[i] += p.selection_bias[i];
  if (p.groups > 0) keep_best_groups(p, s);

  s.taken.assign(n, 0);
  const auto used = static_cast<size_t>(p.used);
  for (size_t i = 0; i < used; ++i) {
    const size_t best = best_of(s.selection.data(), n, s.taken);
    experts[i] = static_cast<int32_t>(best);
    weights[i] = s.probabilities[best];
  }
  if (p.gating == Gating::kSoftmaxOfTop) softmax(weights, used);
  float factor = p.scale;
  if (p.renormalise) {
    float sum = 1e-20f;
    for (size_t i = 0; i < used; ++i) sum += weights[i];
    factor /= sum;
  }
  for (size_t i = 0; i < used; ++i) weights[i] *= factor;
}

}  // namespace

void route(ThreadTeam& team, const RouterParams& params, const float* logits, int64_t ld, int64_t m,
           int32_t* experts, float* weights) {
  for_each_row(team, m, 16 * int64_t{params.experts}, [&](int64_t row) {
    route_row(params, logits + row * ld, experts + row * params.used, weights + row * params.used);
  });
}

void combine(ThreadTeam& team, Isa isa, const float* parts, const int32_t* places,
             const float* weights, int64_t used, int64_t m, int64_t n, float* y) {
  const KernelTable& table = kernels(isa);
  for_each_row(team, m, n * used, [&](int64_t row) {
    std::fill_n(y + row * n, n, 0.0f);
    for (int64_t j = row * used; j < (row + 1) * used; ++j)
      table.add_scaled(parts + places[j] * n, weights[j], n, y + row * n);
  });
}

void add_gated(ThreadTeam& team, Isa isa, const float* x, const float* gate, int64_t m, int64_t n,
               float* y) {
  const KernelTable& table = kernels(isa);
  for_each_row(team, m, n, [&](int64_t row) {
    const float scale = 1 / (1 + std::exp(-gate[row]));
    table.add_scaled(x + row * n, scale, n, y + row * n);
  });
}

}  // namespace spnl::mistralrs::cpu
