#include "layers.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace spnl::cpu_ref {
namespace {

/// (x - mean) / sqrt(mean of squares + eps) * (weight + offset) + bias, where the mean is 0 for RMS
/// norm (arXiv:1910.07467) and that of x for layer norm (arXiv:1607.06450).
void norm_row(const Norm& norm, uint64_t row, float* x) {
  const uint64_t n = norm.weight.columns;
  double mean = 0, squares = 0;
  if (norm.kind == modelkit::NormKind::kLayer) {
    for (uint64_t i = 0; i < n; ++i) mean += x[i];
    mean /= static_cast<double>(n);
  }
  for (uint64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const double scale = 1 / std::sqrt(squares / static_cast<double>(n) + norm.eps);
  const float* weight = norm.weight.row(row);
  for (uint64_t i = 0; i < n; ++i) {
    x[i] = static_cast<float>((x[i] - mean) * scale * (weight[i] + norm.offset));
    if (norm.bias) x[i] += norm.bias.data[i];
  }
}

}  // namespace

Linear find(const Weights& weights, const modelkit::Linear& linear) {
  return {weights.find(linear.weight), weights.find(linear.bias)};
}

Norm find(const Weights& weights, const modelkit::Norm& norm) {
  return {weights.find(norm.weight), weights.find(norm.bias), norm.kind, norm.eps,
          norm.weight_offset};
}

Rows apply(const Linear& linear, const Rows& x, ThreadPool& pool) {
  const Matrix& weight = linear.weight;
  const uint64_t tokens = x.size() / weight.columns;
  Rows out(tokens * weight.rows);
  const uint64_t grain = 32768 / std::max<uint64_t>(1, weight.columns * tokens);
  pool.run(weight.rows, std::max<uint64_t>(1, grain), [&](uint64_t begin, uint64_t end) {
    for (uint64_t row = begin; row < end; ++row)
      for (uint64_t t = 0; t < tokens; ++t)
        out[t * weight.rows + row] = dot(weight.row(row), &x[t * weight.columns], weight.columns) +
                                     (linear.bias ? linear.bias.data[row] : 0);
  });
  return out;
}

Rows apply(const Norm& norm, Rows x) {
  if (!norm) return x;
  const uint64_t width = norm.weight.columns;
  for (uint64_t at = 0; at < x.size(); at += width)
    norm_row(norm, at / width % norm.weight.rows, &x[at]);
  return x;
}

float dot(const float* a, const float* b, uint64_t n) {
  // Sixteen partial sums, always in the same order: the compiler can use vector registers without
  // changing the result.
  std::array<float, 16> sums{};
  uint64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (uint64_t lane = 0; lane < 16; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  for (; i < n; ++i) sums[i % 16] += a[i] * b[i];
  for (uint64_t width = 8; width > 0; width /= 2)
    for (uint64_t lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
  return sums[0];
}

float softcap(double cap, float x) {
  return cap == 0 ? x : static_cast<float>(cap * std::tanh(x / cap));
}

void softmax(std::vector<float>& scores, const float* sink) {
  float top = *std::max_element(scores.begin(), scores.end());
  if (sink != nullptr) top = std::max(top, *sink);
  double sum = sink != nullptr ? std::exp(*sink - top) : 0;
  for (float& score : scores) sum += score = std::exp(score - top);
  for (float& score : scores) score = static_cast<float>(score / sum);
}

void rotate(const modelkit::RopeSpec& rope, bool is_long, uint64_t position, float* first) {
  const std::vector<double>& frequencies = is_long ? rope.long_inv_freq : rope.inv_freq;
  const double magnitude = is_long ? rope.long_magnitude : rope.magnitude;
  const bool neighbours = rope.pairs == modelkit::RopePairs::kInterleaved;
  const uint64_t pairs = frequencies.size();
  for (uint64_t i = 0; i < pairs; ++i) {
    const double angle = static_cast<double>(position) * frequencies[i];
    const auto c = static_cast<float>(std::cos(angle) * magnitude);
    const auto s = static_cast<float>(std::sin(angle) * magnitude);
    float& a = first[neighbours ? 2 * i : i];
    float& b = first[neighbours ? 2 * i + 1 : i + pairs];
    const float turned = a * c - b * s;
    b = a * s + b * c;
    a = turned;
  }
}

}  // namespace spnl::cpu_ref
