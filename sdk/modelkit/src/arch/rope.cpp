#include <algorithm>
#include <cmath>
#include <numbers>

#include "arch.h"

namespace spnl::modelkit {
namespace {

/// YaRN (Peng et al., arXiv:2309.00071): fast dimensions keep their frequency, slow ones are
/// interpolated, with a ramp between; cos and sin grow with the logarithm of the factor.
struct Yarn {
  double factor, original_context, beta_fast, beta_slow, ext_factor, attn_factor;
};

/// The dimension pair whose wave turns `rotations` times within the original context.
double correction_dim(double rotations, uint32_t dims, double base, double context) {
  return dims * std::log(context / (rotations * 2 * std::numbers::pi)) / (2 * std::log(base));
}

void apply_yarn(const Yarn& yarn, double base, uint32_t dims, RopeSpec& rope) {
  const double low =
      std::max(0.0, std::floor(correction_dim(yarn.beta_fast, dims, base, yarn.original_context)));
  double high = std::min(
      dims - 1.0, std::ceil(correction_dim(yarn.beta_slow, dims, base, yarn.original_context)));
  if (high == low) high += 0.001;  // no division by zero
  for (size_t i = 0; i < rope.inv_freq.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const double kept = (1 - ramp) * yarn.ext_factor;
    rope.inv_freq[i] *= kept + (1 - kept) / yarn.factor;
  }
  rope.magnitude = yarn.attn_factor;
  if (yarn.factor > 1 && yarn.ext_factor != 0) rope.magnitude *= 1 + 0.1 * std::log(yarn.factor);
}

/// Factors that the converter worked out beforehand (Llama 3.1): each angle is divided by its own.
void apply_factors(const ArchReader& reader, RopeSpec& rope) {
  const Weight weight = reader.optional_tensor("rope_freqs.weight", {rope.inv_freq.size()});
  if (!weight) return;
  std::vector<float> factors(rope.inv_freq.size());
  weight.read_floats(0, 1, factors.data());
  for (size_t i = 0; i < factors.size(); ++i) {
    if (!std::isfinite(factors[i]) || factors[i] <= 0)
      reader.corrupt("tensor 'rope_freqs.weight' holds a factor that is not above 0");
    rope.inv_freq[i] /= factors[i];
  }
}

}  // namespace

RopeSpec read_rope(const ArchReader& reader, RopePairs pairs, uint32_t dims, uint32_t context) {
  RopeSpec rope;
  rope.pairs = pairs;
  const double base = reader.positive("rope.freq_base", 10000);
  if (base <= 1) reader.corrupt("rope.freq_base must be above 1");
  for (uint32_t i = 0; i < dims / 2; ++i) rope.inv_freq.push_back(std::pow(base, -2.0 * i / dims));

  const double old_linear = reader.positive("rope.scale_linear", 1);
  const double factor = reader.positive("rope.scaling.factor", old_linear);
  const std::string type = reader.text("rope.scaling.type");
  if (type == "linear" || (type.empty() && factor != 1)) {
    for (double& frequency : rope.inv_freq) frequency /= factor;
  } else if (type == "yarn") {
    apply_yarn(
        {factor,
         static_cast<double>(reader.uint_or("rope.scaling.original_context_length", context)),
         reader.positive("rope.scaling.yarn_beta_fast", 32),
         reader.positive("rope.scaling.yarn_beta_slow", 1),
         reader.positive("rope.scaling.yarn_ext_factor", 1),
         reader.positive("rope.scaling.yarn_attn_factor", 1) *
             reader.positive("rope.scaling.attn_factor", 1)},
        base, dims, rope);
  } else if (!type.empty() && type != "none") {
    reader.unsupported("rope scaling '" + type + "' is not supported for this architecture");
  }
  apply_factors(reader, rope);
  return rope;
}

}  // namespace spnl::modelkit
