#include "quantize_search.h"

#include <cmath>

#include "spnl/modelkit/block_formats.h"

namespace spnl::modelkit::quantize {
namespace {

constexpr int kAffineSteps = 20, kMostRefinements = 4;
constexpr float kAffineStep =
    0.1f;  // candidates: the range covers highest - 1 .. highest + 1 levels

/// Least squares for x ~ scale * level + offset, from sums over one choice of levels.
class AffineSearch {
 public:
  AffineSearch(int highest, const float* x, const float* w, int n, bool offset_below_zero)
      : highest_(static_cast<float>(highest)),
        x_(x),
        w_(w),
        n_(n),
        offset_below_zero_(offset_below_zero) {
    Lanes sum_w{}, sum_x{}, sum_xx{};
    for (int i = 0; i < n; i += kLanes) {
      const Lanes v = load(x + i), wx = load(w + i) * v;
      sum_w += load(w + i);
      sum_x += wx;
      sum_xx += wx * v;
    }
    w_sum_ = sum(sum_w);
    wx_ = sum(sum_x);
    wxx_ = sum(sum_xx);
  }

  void start(AffineFit fit) {
    best_ = fit;
    best_error_ = error_at(UniformLevels{0, highest_}, x_, w_, n_, fit.scale, fit.offset);
  }

  /// Takes the levels that `inverse` and the best offset give, when their best scale and offset are
  /// better.
  bool consider(float inverse) {
    Lanes l_sum{}, ll_sum{}, xl_sum{};
    for (int i = 0; i < n_; i += kLanes) {
      const Lanes v = load(x_ + i);
      const Lanes level = rounded(clamped((v - best_.offset) * inverse, 0, highest_));
      const Lanes wl = load(w_ + i) * level;
      l_sum += wl;
      ll_sum += wl * level;
      xl_sum += wl * v;
    }
    const double l = sum(l_sum), ll = sum(ll_sum), xl = sum(xl_sum);
    const double determinant = w_sum_ * ll - l * l;
    if (!(determinant > 0)) return false;
    double scale = (w_sum_ * xl - wx_ * l) / determinant;
    double offset = (ll * wx_ - l * xl) / determinant;
    if (offset_below_zero_ && offset > 0) {
      offset = 0;
      scale = xl / ll;
    }
    const double error = wxx_ + scale * scale * ll + offset * offset * w_sum_ +
                         2 * (scale * offset * l - scale * xl - offset * wx_);
    if (!(scale > 0) || !(error < best_error_)) return false;
    best_error_ = error;
    best_ = {static_cast<float>(scale), static_cast<float>(offset)};
    return true;
  }

  AffineFit best() const { return best_; }

 private:
  const float highest_;
  const float *x_, *w_;
  const int n_;
  const bool offset_below_zero_;
  double w_sum_, wx_, wxx_;
  AffineFit best_;
  double best_error_ = 0;
};

}  // namespace

void codebook_indices(const float* x, int n, float scale, int* out) {
  const auto& values = CodebookLevels::kValues;
  const float inverse = scale != 0 ? 1 / scale : 0;
  for (int i = 0; i < n; ++i) {
    int index = 0;
    for (int k = 0; k < 15; ++k) index += x[i] * inverse > (values[k] + values[k + 1]) / 2 ? 1 : 0;
    out[i] = index;
  }
}

AffineFit fit_affine(int highest, const float* x, const float* w, int n, bool offset_below_zero) {
  float low = x[0], high = x[0];
  for (int i = 1; i < n; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  if (offset_below_zero) low = std::min(low, 0.0f);
  const float range = high - low;
  if (!(range > 0)) return {0, low};
  AffineSearch search(highest, x, w, n, offset_below_zero);
  search.start({range / static_cast<float>(highest), low});
  for (int k = 0; k <= kAffineSteps; ++k)
    search.consider((static_cast<float>(highest) - 1 + kAffineStep * static_cast<float>(k)) /
                    range);
  for (int k = 0; k < kMostRefinements && search.consider(1 / search.best().scale); ++k) {
  }
  return search.best();
}

void fill_weights(const float* x, const float* importance, int n, float* w) {
  double squares = 0, total = 0;
  for (int i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  if (importance != nullptr)
    for (int i = 0; i < n; ++i) total += static_cast<double>(importance[i]);
  // Importance that says nothing: none, all zero, not finite.
  const bool plain = !(total > 0) || !std::isfinite(total);
  const float factor = plain ? 1.0f : static_cast<float>(n / total);
  const auto mean = static_cast<float>(2 * squares / n);
  for (int i = 0; i < n; ++i)
    w[i] = (plain ? 1.0f : std::max(importance[i] * factor, 0.0f)) * std::sqrt(mean + x[i] * x[i]);
}

HalfScale half_scale(float value) {
  constexpr float kLargest = 65504;
  const uint16_t bits = float_to_half(std::clamp(value, -kLargest, kLargest));
  return {bits, half_to_float(bits)};
}

}  // namespace spnl::modelkit::quantize
