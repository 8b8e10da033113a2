#include "rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace spnl::modelkit {
namespace {

/// Llama 3.1: long waves are slowed down by the factor, short ones kept, with a smooth passage in
/// between.
void apply_llama3(const RopeParameters& p, std::vector<double>& frequencies) {
  for (double& frequency : frequencies) {
    const double turns = p.original_context * frequency / (2 * std::numbers::pi);
    const double smooth = std::clamp(
        (turns - p.low_freq_factor) / (p.high_freq_factor - p.low_freq_factor), 0.0, 1.0);
    frequency *= (1 - smooth) / p.factor + smooth;
  }
}

/// The pair of dimensions whose wave turns `rotations` times within the original context.
double correction_dim(const RopeParameters& p, double rotations) {
  return p.dims * std::log(p.original_context / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(p.base));
}

/// YaRN (Peng et al., arXiv:2309.00071): fast dimensions keep their frequency, slow ones are
/// interpolated, with a ramp between.
void apply_yarn(const RopeParameters& p, std::vector<double>& frequencies) {
  double low = correction_dim(p, p.beta_fast), high = correction_dim(p, p.beta_slow);
  if (p.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, p.dims - 1.0);
  if (high == low) high += 0.001;  // no division by zero
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const double kept = (1 - ramp) * p.extrapolation;
    frequencies[i] *= kept + (1 - kept) / p.factor;
  }
}

void divide(std::vector<double>& frequencies, const std::vector<double>& divisors) {
  for (size_t i = 0; i < divisors.size(); ++i) frequencies[i] /= divisors[i];
}

}  // namespace

RopeSpec make_rope(const RopeParameters& p, RopePairs pairs) {
  std::vector<double> frequencies;
  for (uint32_t i = 0; i < p.dims / 2; ++i)
    frequencies.push_back(std::pow(p.base, -2.0 * i / p.dims));
  divide(frequencies, p.divisors);

  RopeSpec rope;
  rope.pairs = pairs;
  rope.magnitude = p.magnitude;
  switch (p.kind) {
    case RopeParameters::Kind::kPlain:
      break;
    case RopeParameters::Kind::kLinear:
      for (double& frequency : frequencies) frequency /= p.factor;
      break;
    case RopeParameters::Kind::kLlama3:
      apply_llama3(p, frequencies);
      break;
    case RopeParameters::Kind::kYarn:
      apply_yarn(p, frequencies);
      break;
    case RopeParameters::Kind::kLongRope:
      rope.long_from = static_cast<uint32_t>(p.original_context);
      rope.long_magnitude = p.long_magnitude;
      rope.long_inv_freq = frequencies;
      divide(rope.long_inv_freq, p.long_factors);
      divide(frequencies, p.short_factors);
      break;
  }
  rope.inv_freq = std::move(frequencies);
  return rope;
}

double yarn_magnitude(double factor, double scale) {
  return factor <= 1 ? 1 : 1 + 0.1 * scale * std::log(factor);
}

double longrope_magnitude(double factor, double original_context) {
  return factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(original_context));
}

}  // namespace spnl::modelkit
