// What changes logits before a token is drawn: biases, penalties, DRY, the least number of tokens.
#include <algorithm>
#include <cmath>
#include <limits>

#include "spnl/modelkit/sampler.h"

namespace spnl::modelkit {
namespace {

constexpr int32_t kLongestRepeat = 256;  // beyond it the penalty is as good as a ban

std::span<const int32_t> last_of(std::span<const int32_t> history, int32_t window) {
  if (window < 0 || history.size() <= static_cast<size_t>(window)) return history;
  return history.last(static_cast<size_t>(window));
}

}  // namespace

/// The logits as they are when nothing changes them, else a changed copy.
std::span<const float> Sampler::adjust(std::span<const float> logits,
                                       std::span<const int32_t> history) {
  const auto recent = last_of(history, params_.penalty_window);
  const bool penalties = (params_.repeat_penalty != 1 || params_.presence_penalty != 0 ||
                          params_.frequency_penalty != 0) &&
                         !recent.empty();
  const bool dry = params_.dry.multiplier > 0 && history.size() > 1;
  const bool too_short = drawn_ < params_.min_tokens && !params_.end_ids.empty();
  if (!penalties && !dry && !too_short && params_.logit_biases.empty()) return logits;

  adjusted_.assign(logits.begin(), logits.end());
  const auto inside = [&](int32_t id) {
    return id >= 0 && static_cast<size_t>(id) < adjusted_.size();
  };
  for (const auto& [id, bias] : params_.logit_biases)
    if (inside(id)) adjusted_[static_cast<size_t>(id)] += bias;
  if (penalties) penalise(recent);
  if (dry) penalise_repetitions(last_of(history, params_.dry.window));
  if (too_short)
    for (const int32_t id : params_.end_ids)
      if (inside(id)) adjusted_[static_cast<size_t>(id)] = -std::numeric_limits<float>::infinity();
  return adjusted_;
}

void Sampler::penalise(std::span<const int32_t> history) {
  recent_.assign(history.begin(), history.end());
  std::sort(recent_.begin(), recent_.end());
  for (size_t i = 0; i < recent_.size();) {
    const int32_t id = recent_[i];
    const size_t first = i;
    while (i < recent_.size() && recent_[i] == id) ++i;
    if (id < 0 || static_cast<size_t>(id) >= adjusted_.size()) continue;
    float& logit = adjusted_[static_cast<size_t>(id)];
    logit = logit > 0 ? logit / params_.repeat_penalty
                      : logit * params_.repeat_penalty;  // Keskar et al. 2019
    logit -= static_cast<float>(i - first) * params_.frequency_penalty + params_.presence_penalty;
  }
}

/// The Z-function of the reversed history (Gusfield 1997, section 1.4): repeats_[i] is how many
/// tokens that end at distance i from the last one are also the last ones. The token that followed
/// them would make the repetition longer.
void Sampler::penalise_repetitions(std::span<const int32_t> history) {
  const DryParams& dry = params_.dry;
  const auto breaks = [&](int32_t id) {
    return dry.breakers != nullptr && id >= 0 && static_cast<size_t>(id) < dry.breakers->size() &&
           (*dry.breakers)[static_cast<size_t>(id)];
  };
  size_t reach = 0;  // no repetition is longer than what follows the last breaker
  while (reach < history.size() && !breaks(history[history.size() - 1 - reach])) ++reach;
  if (reach < static_cast<size_t>(dry.allowed_length)) return;

  const size_t n = history.size();
  const auto from_end = [&](size_t i) { return history[n - 1 - i]; };
  repeats_.assign(n, 0);
  recent_.clear();
  size_t left = 0, right = 0;
  for (size_t i = 1; i < n; ++i) {
    size_t length = i < right ? std::min(static_cast<size_t>(repeats_[i - left]), right - i) : 0;
    while (i + length < n && from_end(length) == from_end(i + length)) ++length;
    repeats_[i] = static_cast<int32_t>(length);
    if (i + length > right) left = i, right = i + length;
  }
  // Of each token that followed a repetition, only the longest one counts.
  std::vector<std::pair<int32_t, int32_t>> longest;  // id, length
  for (size_t i = 1; i < n; ++i) {
    const auto length = static_cast<int32_t>(
        std::min({static_cast<size_t>(repeats_[i]), reach, static_cast<size_t>(kLongestRepeat)}));
    if (length >= dry.allowed_length) longest.emplace_back(from_end(i - 1), length);
  }
  std::sort(longest.begin(), longest.end());
  for (size_t i = 0; i < longest.size(); ++i) {
    const auto [id, length] = longest[i];
    const bool last = i + 1 == longest.size() || longest[i + 1].first != id;
    if (!last || id < 0 || static_cast<size_t>(id) >= adjusted_.size() || breaks(id)) continue;
    const float grown = std::pow(dry.base, static_cast<float>(length - dry.allowed_length));
    // A power without bound would make NaN of an infinite logit.
    adjusted_[static_cast<size_t>(id)] -=
        std::min(dry.multiplier * grown, std::numeric_limits<float>::max());
  }
}

}  // namespace spnl::modelkit
