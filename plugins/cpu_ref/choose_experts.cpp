// How the logits of a router become experts and weights.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "feed_forward.h"

namespace spnl::cpu_ref {
namespace {

using modelkit::Experts;
using modelkit::Gating;

constexpr float kExcluded = -std::numeric_limits<float>::infinity();

/// The numbers of the k largest, best first; ties go to the lower number.
std::vector<uint32_t> best(const std::vector<float>& scores, uint32_t k) {
  std::vector<uint32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
  order.resize(std::min<size_t>(k, order.size()));
  return order;
}

/// Excludes the experts of all but the best groups (arXiv:2405.04434 section 2.2,
/// arXiv:2412.19437 section 2.1).
void keep_best_groups(const Experts& rule, std::vector<float>& scores) {
  const size_t size = scores.size() / rule.groups;
  std::vector<float> of_groups;
  for (uint32_t group = 0; group < rule.groups; ++group) {
    std::vector<float> own(scores.begin() + static_cast<std::ptrdiff_t>(group * size),
                           scores.begin() + static_cast<std::ptrdiff_t>((group + 1) * size));
    std::sort(own.begin(), own.end(), std::greater<>());
    const bool two = rule.group_score_is_top_two && own.size() > 1;
    of_groups.push_back(two ? own[0] + own[1] : own[0]);
  }
  std::vector<bool> kept(rule.groups);
  for (const uint32_t group : best(of_groups, rule.groups_used)) kept[group] = true;
  for (size_t e = 0; e < scores.size(); ++e)
    if (!kept[e / size]) scores[e] = kExcluded;
}

/// SparseMixer (arXiv:2409.12136, as Phi-3.5-MoE uses it): one expert after the other, each with
/// the weight that it has among those not far below it.
std::vector<Choice> sparse_mixer(const Experts& rule, std::vector<float> scores) {
  std::vector<Choice> choices;
  for (uint32_t pick = 0; pick < rule.used; ++pick) {
    const auto at = std::max_element(scores.begin(), scores.end());
    const float top = *at;
    double sum = 0;
    for (const float score : scores) {
      const bool is_far = (top - score) / std::max(std::abs(score), top) > 2 * rule.jitter;
      if (score != kExcluded && !is_far) sum += std::exp(score - top);
    }
    choices.push_back({static_cast<uint32_t>(at - scores.begin()), static_cast<float>(1 / sum)});
    *at = kExcluded;
  }
  return choices;
}

}  // namespace

std::vector<Choice> choose_experts(const Experts& rule, const std::vector<float>& logits,
                                   const float* selection_bias) {
  if (rule.gating == Gating::kSparseMixer) return sparse_mixer(rule, logits);

  std::vector<float> weights = logits;
  if (rule.gating == Gating::kSoftmax) softmax(weights);
  if (rule.gating == Gating::kSigmoid)
    for (float& weight : weights) weight = 1 / (1 + std::exp(-weight));
  std::vector<float> scores = weights;  // for the choice alone
  if (selection_bias != nullptr)
    for (size_t e = 0; e < scores.size(); ++e) scores[e] += selection_bias[e];
  if (rule.groups != 0) keep_best_groups(rule, scores);

  const std::vector<uint32_t> chosen = best(scores, rule.used);
  std::vector<float> own;
  for (const uint32_t expert : chosen) own.push_back(weights[expert]);
  if (rule.gating == Gating::kSoftmaxOfTop) softmax(own);
  const double sum = rule.renormalise ? std::accumulate(own.begin(), own.end(), 0.0) + 1e-20 : 1;
  std::vector<Choice> choices;
  for (size_t i = 0; i < chosen.size(); ++i)
    choices.push_back({chosen[i], static_cast<float>(own[i] / sum * rule.scale)});
  return choices;
}

}  // namespace spnl::cpu_ref
