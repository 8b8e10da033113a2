#pragma once
/// How the quantisers of quantize_*.cpp choose scales: the one that, once the values are rounded
/// with it, has the least weighted squared error. For given levels the best scale is a weighted
/// least squares problem with a closed solution; candidates for the levels come from scales around
/// the one that just covers the largest value. The idea is that of the k-quants of llama.cpp
/// (github.com/ggml-org/llama.cpp/pull/1684), in the line of Lloyd's method (IEEE Trans. Inf.
/// Theory 28(2), 1982).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace spnl::modelkit::quantize {

/// Four floats at once: what every target has registers for.
using Lanes = float __attribute__((vector_size(16)));
inline constexpr int kLanes = 4;

inline Lanes load(const float* from) {
  Lanes out;
  std::memcpy(&out, from, sizeof out);
  return out;
}
inline void store(Lanes value, float* to) { std::memcpy(to, &value, sizeof value); }
inline float sum(Lanes v) { return (v[0] + v[1]) + (v[2] + v[3]); }
inline Lanes clamped(Lanes v, float low, float high) {
  v = v < low ? Lanes{} + low : v;
  return v > high ? Lanes{} + high : v;
}
/// To the nearest whole number, for |v| < 2^22: adding 1.5 * 2^23 leaves no bits for a fraction.
inline Lanes rounded(Lanes v) { return (v + 12582912.0f) - 12582912.0f; }

/// Levels low..high, `low` having the larger magnitude.
struct UniformLevels {
  float low, high;
  static constexpr float kStep = 0.1f;  ///< between the candidates for where the largest value goes
  static constexpr int kSteps = 10;     ///< to each side
  float lowest() const { return low; }
  float highest() const { return high; }
  Lanes nearest(Lanes v) const { return rounded(clamped(v, low, high)); }
};

/// The sixteen levels of IQ4_NL, IQ4_XS.
struct CodebookLevels {
  static constexpr float kValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                        1,    13,   25,  38,  53,  69,  89,  113};
  static constexpr float kStep = 1.0f;
  static constexpr int kSteps = 8;
  float lowest() const { return kValues[0]; }
  float highest() const { return kValues[15]; }
  Lanes nearest(Lanes v) const {
    Lanes level = Lanes{} + kValues[0];
    for (int k = 0; k < 15; ++k)
      level = v > (kValues[k] + kValues[k + 1]) / 2 ? Lanes{} + kValues[k + 1] : level;
    return level;
  }
};

/// sum w (x - scale * level - offset)^2 with each value at its nearest level. A scale of 0 makes
/// all values `offset`.
template <class Levels>
float error_at(const Levels& levels, const float* x, const float* w, int n, float scale,
               float offset = 0) {
  const float inverse = scale != 0 ? 1 / scale : 0;
  Lanes error{};
  for (int i = 0; i < n; i += kLanes) {
    const Lanes v = load(x + i) - offset;
    const Lanes rest = v - scale * levels.nearest(v * inverse);
    error += load(w + i) * rest * rest;
  }
  return sum(error);
}

/// The levels themselves.
template <class Levels>
void levels_at(const Levels& levels, const float* x, int n, float scale, float offset, float* out) {
  const float inverse = scale != 0 ? 1 / scale : 0;
  for (int i = 0; i < n; i += kLanes)
    store(levels.nearest((load(x + i) - offset) * inverse), out + i);
}

/// The scale, of either sign, that suits x ~ scale * level. 0 when x is nothing but zeros.
template <class Levels>
float fit_scale(const Levels& levels, const float* x, const float* w, int n) {
  float largest = 0;
  for (int i = 0; i < n; ++i)
    if (std::abs(x[i]) > std::abs(largest)) largest = x[i];
  if (largest == 0) return 0;
  float best = 0;
  double best_gain = 0;  // of the squared error, over that of scale 0
  const auto consider = [&](float inverse) {
    Lanes xl{}, ll{};
    for (int i = 0; i < n; i += kLanes) {
      const Lanes v = load(x + i), level = levels.nearest(v * inverse), wl = load(w + i) * level;
      xl += wl * v;
      ll += wl * level;
    }
    const double by_x = sum(xl), by_level = sum(ll);
    if (!(by_level > 0) || by_x * by_x <= best_gain * by_level) return;
    best_gain = by_x * by_x / by_level;
    best = static_cast<float>(by_x / by_level);
  };
  for (const float extreme : {levels.lowest(), levels.highest()})
    for (int k = -Levels::kSteps; k <= Levels::kSteps; ++k)
      consider((extreme + Levels::kStep * static_cast<float>(k)) / largest);
  if (best != 0) consider(1 / best);
  return best;
}

/// Which of the codebook's levels x / scale is nearest to.
void codebook_indices(const float* x, int n, float scale, int* out);

struct AffineFit {
  float scale = 0, offset = 0;
};

/// x ~ scale * level + offset with levels 0..highest and scale >= 0. `offset_below_zero`: for
/// formats that can only subtract.
AffineFit fit_affine(int highest, const float* x, const float* w, int n, bool offset_below_zero);

/// w = importance * sqrt(mean square of the block + x^2): large values matter more, and none is
/// left out of account. `importance` may be null. n <= 256.
void fill_weights(const float* x, const float* importance, int n, float* w);

/// The float16 nearest to `value`, never an infinity, and what it stands for.
struct HalfScale {
  uint16_t bits;
  float value;
};
HalfScale half_scale(float value);

}  // namespace spnl::modelkit::quantize
