#include "spnl/modelkit/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

void require(bool good, const char* what) {
  if (!good) throw Error(ErrorCode::kInvalid, std::string("sampling: ") + what);
}

// Lanes keep the loop free of a chain of compares, so it runs at memory speed. A compare with NaN
// is false: NaN never wins.
float highest_of(std::span<const float> logits) {
  constexpr size_t kLanes = 16;
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, kNever);
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j)
      lanes[j] = logits[i + j] > lanes[j] ? logits[i + j] : lanes[j];
  }
  for (; i < logits.size(); ++i) lanes[0] = logits[i] > lanes[0] ? logits[i] : lanes[0];
  return *std::max_element(lanes, lanes + kLanes);
}

int32_t first_with(std::span<const float> logits, float value) {
  const auto found = std::find(logits.begin(), logits.end(), value);
  return found == logits.end() ? 0 : static_cast<int32_t>(found - logits.begin());
}

bool better(const std::pair<float, int32_t>& a, const std::pair<float, int32_t>& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

// exp((logit - highest) / temperature), at most 1; the ends of the range do not become NaN.
double weight(float logit, float highest, double temperature) {
  if (logit == highest) return 1;
  if (!(logit > kNever) || std::isinf(highest)) return 0;
  return std::exp((static_cast<double>(logit) - static_cast<double>(highest)) / temperature);
}

// Finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection that mixes all bits.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

}  // namespace

Sampler::Sampler(const SamplingParams& params) : params_(params) {
  const auto finite = [](float value) { return std::isfinite(value); };
  require(finite(params.temperature) && params.temperature >= 0, "temperature must be 0 or more");
  require(params.top_k >= 0, "top_k must be 0 (off) or more");
  require(params.top_p >= 0 && params.top_p <= 1, "top_p must be between 0 and 1");
  require(params.typical_p >= 0 && params.typical_p <= 1, "typical_p must be between 0 and 1");
  require(params.min_p >= 0 && params.min_p <= 1, "min_p must be between 0 and 1");
  require(finite(params.repeat_penalty) && params.repeat_penalty > 0,
          "repeat_penalty must be above 0");
  require(finite(params.presence_penalty), "presence_penalty must be a finite number");
  require(finite(params.frequency_penalty), "frequency_penalty must be a finite number");
  require(finite(params.dry.multiplier) && params.dry.multiplier >= 0,
          "dry_multiplier must be 0 (off) or more");
  require(finite(params.dry.base) && params.dry.base >= 1, "dry_base must be 1 or more");
  require(params.dry.allowed_length >= 1, "dry_allowed_length must be 1 or more");
  for (const auto& [id, bias] : params.logit_biases)
    require(!std::isnan(bias), "a logit bias is not a number");
}

// Fills candidates_ with the `count` best, sorted. Nearly all logits fail one compare with the
// worst one kept.
void Sampler::collect_best(std::span<const float> logits, size_t count) {
  const size_t room = count * 2 + 64;
  bool full = false;
  float worst = kNever;
  const auto trim = [&] {
    const auto last = candidates_.begin() + static_cast<std::ptrdiff_t>(count) - 1;
    std::nth_element(candidates_.begin(), last, candidates_.end(), better);
    worst = last->first;
    full = true;
    candidates_.erase(last + 1, candidates_.end());
  };
  for (size_t i = 0; i < logits.size(); ++i) {
    if (full && !(logits[i] > worst)) continue;  // ties go to the lower ids, which came before
    candidates_.emplace_back(logits[i] > kNever ? logits[i] : kNever, static_cast<int32_t>(i));
    if (candidates_.size() == room) trim();
  }
  if (candidates_.size() > count) trim();
  std::sort(candidates_.begin(), candidates_.end(), better);
}

// Drops from candidates_ those whose surprise is farthest from the expected one, until typical_p of
// the mass is left; at least one stays. Returns the mass that is left.
double Sampler::keep_typical(float highest) {
  double mass = 0, entropy = 0;
  for (const auto& candidate : candidates_) mass += weight(candidate.first, highest, 1);
  const auto surprise = [&](float logit) {
    return std::log(mass) - (static_cast<double>(logit) - static_cast<double>(highest));
  };
  for (const auto& candidate : candidates_) {
    const double w = weight(candidate.first, highest, 1);
    if (w > 0 && candidate.first > kNever) entropy += w / mass * surprise(candidate.first);
  }
  const auto distance = [&](const std::pair<float, int32_t>& candidate) {
    return candidate.first > kNever ? std::abs(surprise(candidate.first) - entropy)
                                    : std::numeric_limits<double>::infinity();
  };
  std::sort(candidates_.begin(), candidates_.end(), [&](const auto& a, const auto& b) {
    const double da = distance(a), db = distance(b);
    return da != db ? da < db : better(a, b);
  });
  double sum = 0;
  size_t kept = 0;
  while (kept < candidates_.size()) {
    sum += weight(candidates_[kept++].first, highest, 1);
    if (sum >= static_cast<double>(params_.typical_p) * mass) break;
  }
  candidates_.resize(kept);
  std::sort(candidates_.begin(), candidates_.end(), better);
  return sum;
}

// Fills candidates_ with what the filters leave and returns how many; the rest of candidates_ is of
// no use.
size_t Sampler::select(std::span<const float> logits, float highest) {
  candidates_.clear();
  const double lowest = params_.min_p > 0 ? std::log(static_cast<double>(params_.min_p)) : 0;
  float best = highest;  // of the candidates
  const auto wanted = [&](float logit) {
    return params_.min_p <= 0 || logit == best ||
           (logit > kNever && static_cast<double>(logit) - static_cast<double>(best) >= lowest);
  };
  const bool limited = params_.top_k > 0 && static_cast<size_t>(params_.top_k) < logits.size();
  const bool typical = params_.typical_p < 1 && !std::isinf(highest), by_mass = params_.top_p < 1;
  double mass = 0;
  if (limited) {
    collect_best(logits, static_cast<size_t>(params_.top_k));
    for (const auto& candidate : candidates_) mass += weight(candidate.first, highest, 1);
  } else {
    // min-p compares with the best token, which top-p keeps, so it can go first; top-p and typical
    // still count the whole mass.
    for (size_t i = 0; i < logits.size(); ++i) {
      if (by_mass) mass += weight(logits[i], highest, 1);
      if (typical || wanted(logits[i]))
        candidates_.emplace_back(logits[i] > kNever ? logits[i] : kNever, static_cast<int32_t>(i));
    }
    if (!by_mass && !typical) return candidates_.size();
  }
  if (typical) {
    mass = keep_typical(highest);
    best = candidates_[0].first;
  }
  size_t sorted = limited || typical ? candidates_.size() : 0, kept = 0;
  double sum = 0;
  while (kept < candidates_.size()) {
    if (kept == sorted) {  // sort only as far as the mass reaches
      sorted = std::min(candidates_.size(), std::max<size_t>(256, sorted * 4));
      std::partial_sort(candidates_.begin() + static_cast<std::ptrdiff_t>(kept),
                        candidates_.begin() + static_cast<std::ptrdiff_t>(sorted),
                        candidates_.end(), better);
    }
    if (!wanted(candidates_[kept].first)) break;
    sum += weight(candidates_[kept++].first, highest, 1);
    if (by_mass && sum >= static_cast<double>(params_.top_p) * mass) break;
  }
  return kept;
}

// Uniform in [0, 1), 53 bits, from (seed, sample, number of the token) alone and the same on every
// machine.
double Sampler::draw() const {
  const uint64_t step = 0x9E3779B97F4A7C15u;
  const uint64_t stream = mix(mix(params_.seed + step) + (uint64_t{params_.sample} + 1) * step);
  return static_cast<double>(mix(stream + (drawn_ + 1) * step) >> 11) * 0x1p-53;
}

int32_t Sampler::choose(std::span<const float> logits, float highest, double random) {
  const bool filtered =
      params_.top_k > 0 || params_.typical_p < 1 || params_.top_p < 1 || params_.min_p > 0;
  const size_t count = filtered ? select(logits, highest) : logits.size();
  const auto temperature = static_cast<double>(params_.temperature);
  weights_.resize(count);
  double total = 0;
  for (size_t i = 0; i < count; ++i) {
    weights_[i] = weight(filtered ? candidates_[i].first : logits[i], highest, temperature);
    total += weights_[i];
  }
  const double target = random * total;
  double sum = 0;
  int32_t chosen = filtered ? candidates_[0].second : first_with(logits, highest);
  for (size_t i = 0; i < count; ++i) {
    if (!(weights_[i] > 0)) continue;
    sum += weights_[i];
    chosen = filtered ? candidates_[i].second : static_cast<int32_t>(i);
    if (sum > target) break;
  }
  return chosen;
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> history) {
  require(!logits.empty(), "no logits");
  logits = adjust(logits, history);
  const float highest = highest_of(logits);
  const double random = draw();
  ++drawn_;
  if (params_.temperature == 0 || highest == kNever) return first_with(logits, highest);
  return choose(logits, highest, random);
}

}  // namespace spnl::modelkit
