// Encoders of the formats with blocks of 32; their layouts are those that block_formats.cpp
// decodes.
#include <cmath>

#include "quantize_encoders.h"
#include "quantize_search.h"

namespace spnl::modelkit::quantize {
namespace {

constexpr int kSize = 32;

/// Low nibbles are the first half of the block, high nibbles the second.
void pack_nibbles(const int* q, uint8_t* out) {
  for (int j = 0; j < kSize / 2; ++j)
    out[j] = static_cast<uint8_t>((q[j] & 15) | (q[j + kSize / 2] & 15) << 4);
}

/// The fifth bits, one word.
void pack_fifth_bits(const int* q, uint8_t* out) {
  uint32_t high = 0;
  for (int j = 0; j < kSize; ++j) high |= static_cast<uint32_t>(q[j] >> 4 & 1) << j;
  put16(out, static_cast<uint16_t>(high));
  put16(out + 2, static_cast<uint16_t>(high >> 16));
}

/// Scale into out[0..1], levels counted from 0 into q.
void fit_symmetric(const UniformLevels& levels, const float* x, const float* importance,
                   uint8_t* out, int* q) {
  float w[kSize], level[kSize];
  fill_weights(x, importance, kSize, w);
  const HalfScale d = half_scale(fit_scale(levels, x, w, kSize));
  put16(out, d.bits);
  levels_at(levels, x, kSize, d.value, 0, level);
  for (int j = 0; j < kSize; ++j) q[j] = static_cast<int>(level[j] - levels.low);
}

/// Scale and offset into out[0..3], levels into q.
void fit_with_offset(int highest, const float* x, const float* importance, uint8_t* out, int* q) {
  float w[kSize], level[kSize];
  fill_weights(x, importance, kSize, w);
  const AffineFit fit = fit_affine(highest, x, w, kSize, false);
  const HalfScale d = half_scale(fit.scale), m = half_scale(fit.offset);
  put16(out, d.bits);
  put16(out + 2, m.bits);
  levels_at(UniformLevels{0, static_cast<float>(highest)}, x, kSize, d.value, m.value, level);
  for (int j = 0; j < kSize; ++j) q[j] = static_cast<int>(level[j]);
}

void encode_q4_0(const float* x, const float* importance, uint8_t* out) {
  int q[kSize];
  fit_symmetric({-8, 7}, x, importance, out, q);
  pack_nibbles(q, out + 2);
}

void encode_q4_1(const float* x, const float* importance, uint8_t* out) {
  int q[kSize];
  fit_with_offset(15, x, importance, out, q);
  pack_nibbles(q, out + 4);
}

void encode_q5_0(const float* x, const float* importance, uint8_t* out) {
  int q[kSize];
  fit_symmetric({-16, 15}, x, importance, out, q);
  pack_fifth_bits(q, out + 2);
  pack_nibbles(q, out + 6);
}

void encode_q5_1(const float* x, const float* importance, uint8_t* out) {
  int q[kSize];
  fit_with_offset(31, x, importance, out, q);
  pack_fifth_bits(q, out + 4);
  pack_nibbles(q, out + 8);
}

/// With 255 levels a search gains nothing.
void encode_q8_0(const float* x, const float*, uint8_t* out) {
  float largest = 0, level[kSize];
  for (int j = 0; j < kSize; ++j) largest = std::max(largest, std::abs(x[j]));
  const HalfScale d = half_scale(largest / 127);
  put16(out, d.bits);
  levels_at(UniformLevels{-127, 127}, x, kSize, d.value, 0, level);
  for (int j = 0; j < kSize; ++j) out[2 + j] = static_cast<uint8_t>(static_cast<int>(level[j]));
}

void encode_iq4_nl(const float* x, const float* importance, uint8_t* out) {
  const CodebookLevels levels;
  float w[kSize];
  int q[kSize];
  fill_weights(x, importance, kSize, w);
  const HalfScale d = half_scale(fit_scale(levels, x, w, kSize));
  put16(out, d.bits);
  codebook_indices(x, kSize, d.value, q);
  pack_nibbles(q, out + 2);
}

/// Magnitudes of E2M1, doubled.
constexpr float kE2m1[8] = {0, 1, 2, 3, 4, 6, 8, 12};

float mxfp4_error(const float* x, const float* w, float scale, int* q) {
  float error = 0;
  for (int j = 0; j < kSize; ++j) {
    const float magnitude = std::abs(x[j]) / scale;
    int code = 0;
    for (int k = 0; k < 7; ++k) code += magnitude > (kE2m1[k] + kE2m1[k + 1]) / 2 ? 1 : 0;
    const float rest = (magnitude - kE2m1[code]) * scale;
    error += w[j] * rest * rest;
    q[j] = code | (x[j] < 0 && code != 0 ? 8 : 0);
  }
  return error;
}

/// The scale is a power of two: the one that just covers the largest value, or one of its
/// neighbours.
void encode_mxfp4(const float* x, const float* importance, uint8_t* out) {
  float w[kSize], largest = 0, best_error = INFINITY;
  int q[kSize] = {}, best[kSize] = {};
  fill_weights(x, importance, kSize, w);
  for (int j = 0; j < kSize; ++j) largest = std::max(largest, std::abs(x[j]));
  int exponent = 0, best_exponent = 0;
  std::frexp(largest / 12, &exponent);  // largest <= 12 * 2^exponent
  for (int e = exponent - 2; largest > 0 && e <= exponent; ++e) {
    const int stored = std::clamp(e + 128, 0, 254);
    const float error = mxfp4_error(x, w, std::ldexp(1.0f, stored - 128), q);
    if (!(error < best_error)) continue;
    best_error = error;
    best_exponent = stored;
    std::copy(q, q + kSize, best);
  }
  out[0] = static_cast<uint8_t>(best_exponent);
  pack_nibbles(best, out + 1);
}

}  // namespace

Encoder small_block_encoder(TensorType type) {
  using enum TensorType;
  switch (type) {
    case kQ4_0:
      return encode_q4_0;
    case kQ4_1:
      return encode_q4_1;
    case kQ5_0:
      return encode_q5_0;
    case kQ5_1:
      return encode_q5_1;
    case kQ8_0:
      return encode_q8_0;
    case kIQ4_NL:
      return encode_iq4_nl;
    case kMXFP4:
      return encode_mxfp4;
    default:
      return nullptr;
  }
}

}  // namespace spnl::modelkit::quantize
