#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "names.h"
#include "spnl/modelkit/model_spec.h"

namespace spnl::modelkit {

/// How an architecture turns queries and keys: what no file says.
struct RopeStyle {
  RopePairs gguf_pairs = RopePairs::kHalfSplit, hf_pairs = RopePairs::kHalfSplit;
  double hf_base = 10000;  ///< where config.json has none; GGUF files without one always mean 10000
  double gguf_window_base =
      0;  ///< of layers with a window, where a GGUF file has none; 0: that of the others
  bool is_partial = false;                ///< may turn only the first dimensions of a head
  double hf_part = 1;                     ///< that turns, where config.json does not say it
  bool truncates_yarn = true;             ///< of GGUF files, which cannot say it; config.json can
  bool su_and_yarn_are_longrope = false;  ///< old names of it (phi3)
  bool never_long = false;  ///< longrope whose frequencies stay the short ones; only the magnitude
                            ///< changes (phimoe)
};

/// Parameters of rotary embeddings, as either layout gives them. The scalings are those of
/// transformers' modeling_rope_utils.py.
struct RopeParameters {
  enum class Kind { kPlain, kLinear, kLlama3, kYarn, kLongRope };
  Kind kind = Kind::kPlain;
  uint32_t dims = 0;  ///< of a head, that turn
  double base = 10000, factor = 1;
  double original_context = 0;                       ///< of kLlama3, kYarn and kLongRope
  double low_freq_factor = 1, high_freq_factor = 4;  ///< of kLlama3
  double beta_fast = 32, beta_slow = 1;              ///< of kYarn
  double extrapolation = 1;                          ///< of kYarn: part of the ramp that is used
  bool truncate = true;                             ///< of kYarn: the ramp's ends are whole numbers
  std::vector<double> short_factors, long_factors;  ///< of kLongRope, [dims / 2]
  std::vector<double> divisors;              ///< of the frequencies, [dims / 2]; may be empty
  double magnitude = 1, long_magnitude = 1;  ///< of cos and sin; the latter of kLongRope
  double mscale_all_dim = 0;                 ///< of yarn: scores grow by its yarn_magnitude squared
};

RopeSpec make_rope(const RopeParameters& parameters, RopePairs pairs);

/// 1 + 0.1 * scale * ln(factor), and 1 for a factor up to 1: yarn's growth of cos and sin.
double yarn_magnitude(double factor, double scale = 1);

/// sqrt(1 + ln(factor) / ln(original_context)), and 1 for a factor up to 1: longrope's.
double longrope_magnitude(double factor, double original_context);

}  // namespace spnl::modelkit
