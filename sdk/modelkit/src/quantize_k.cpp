// Encoders of the formats with blocks of 256: sub-blocks whose scales are small integers times one
// float16. Each sub-block is fitted by itself, its scale becomes the integer that leaves the least
// error, and last the float16 scales are fitted to all of the block once more. Layouts are those
// that block_formats.cpp decodes.
#include <cmath>

#include "quantize_encoders.h"
#include "quantize_search.h"

namespace spnl::modelkit::quantize {
namespace {

constexpr int kSize = 256, kMostSubs = 16;

int whole(float value, int low, int high) {
  return static_cast<int>(
      std::lround(std::clamp(value, static_cast<float>(low), static_cast<float>(high))));
}

// ---- x ~ d * scale * level

template <class Levels>
struct SymmetricShape {
  Levels levels;
  int subs, lowest, highest;  ///< of the integer scales; `lowest` has the larger magnitude
  int sub_size() const { return kSize / subs; }
};

struct SymmetricBlock {
  HalfScale d;
  int scale[kMostSubs];
};

template <class Levels>
float block_error(const SymmetricShape<Levels>& shape, const SymmetricBlock& block, const float* x,
                  const float* w) {
  float error = 0;
  const int n = shape.sub_size();
  for (int s = 0; s < shape.subs; ++s)
    error += error_at(shape.levels, x + s * n, w + s * n, n,
                      block.d.value * static_cast<float>(block.scale[s]));
  return error;
}

/// The integer scale next to `wish` that leaves the least error.
template <class Levels>
int best_scale(const SymmetricShape<Levels>& shape, float d, float wish, const float* x,
               const float* w) {
  const int middle = whole(wish, shape.lowest, shape.highest);
  int best = middle;
  float best_error = INFINITY;
  for (int scale = std::max(middle - 1, shape.lowest); scale <= std::min(middle + 1, shape.highest);
       ++scale) {
    const float error =
        error_at(shape.levels, x, w, shape.sub_size(), d * static_cast<float>(scale));
    if (error < best_error) best_error = error, best = scale;
  }
  return best;
}

/// Least squares for d with the levels that the block has now.
template <class Levels>
float refitted(const SymmetricShape<Levels>& shape, const SymmetricBlock& block, const float* x,
               const float* w) {
  double by_x = 0, by_level = 0;
  float level[kSize];
  const int n = shape.sub_size();
  for (int s = 0; s < shape.subs; ++s) {
    const auto scale = static_cast<float>(block.scale[s]);
    levels_at(shape.levels, x + s * n, n, block.d.value * scale, 0, level);
    Lanes xl{}, ll{};
    for (int i = 0; i < n; i += kLanes) {
      const Lanes a = scale * load(level + i), wa = load(w + s * n + i) * a;
      xl += wa * load(x + s * n + i);
      ll += wa * a;
    }
    by_x += static_cast<double>(sum(xl));
    by_level += static_cast<double>(sum(ll));
  }
  return by_level > 0 ? static_cast<float>(by_x / by_level) : 0;
}

template <class Levels>
SymmetricBlock fit_block(const SymmetricShape<Levels>& shape, const float* x,
                         const float* importance) {
  float w[kSize], wish[kMostSubs], largest = 0;
  fill_weights(x, importance, kSize, w);
  const int n = shape.sub_size();
  for (int s = 0; s < shape.subs; ++s) {
    wish[s] = fit_scale(shape.levels, x + s * n, w + s * n, n);
    if (std::abs(wish[s]) > std::abs(largest)) largest = wish[s];
  }
  SymmetricBlock block{half_scale(largest / static_cast<float>(shape.lowest)), {}};
  if (block.d.value == 0) return block;
  for (int s = 0; s < shape.subs; ++s)
    block.scale[s] =
        best_scale(shape, block.d.value, wish[s] / block.d.value, x + s * n, w + s * n);
  SymmetricBlock better = block;
  better.d = half_scale(refitted(shape, block, x, w));
  return block_error(shape, better, x, w) < block_error(shape, block, x, w) ? better : block;
}

// ---- x ~ d * scale * level - dmin * min

struct AffineShape {
  int subs, highest_level, highest_scale;
  int sub_size() const { return kSize / subs; }
  UniformLevels levels() const { return {0, static_cast<float>(highest_level)}; }
};

struct AffineBlock {
  HalfScale d, dmin;
  int scale[kMostSubs], min[kMostSubs];
  float scale_of(int s) const { return d.value * static_cast<float>(scale[s]); }
  float offset_of(int s) const { return -dmin.value * static_cast<float>(min[s]); }
};

float block_error(const AffineShape& shape, const AffineBlock& block, const float* x,
                  const float* w) {
  float error = 0;
  const int n = shape.sub_size();
  for (int s = 0; s < shape.subs; ++s)
    error +=
        error_at(shape.levels(), x + s * n, w + s * n, n, block.scale_of(s), block.offset_of(s));
  return error;
}

/// Sets scale and min of one sub-block to the integers next to the wishes that leave the least
/// error.
void choose_integers(const AffineShape& shape, AffineBlock& block, int s, float scale, float min,
                     const float* x, const float* w) {
  const int scale_wish = whole(scale, 0, shape.highest_scale),
            min_wish = whole(min, 0, shape.highest_scale);
  AffineBlock trial = block;
  float best = INFINITY;
  for (trial.scale[s] = std::max(scale_wish - 1, 0);
       trial.scale[s] <= std::min(scale_wish + 1, shape.highest_scale); ++trial.scale[s])
    for (trial.min[s] = std::max(min_wish - 1, 0);
         trial.min[s] <= std::min(min_wish + 1, shape.highest_scale); ++trial.min[s]) {
      const float error =
          error_at(shape.levels(), x, w, shape.sub_size(), trial.scale_of(s), trial.offset_of(s));
      if (!(error < best)) continue;
      best = error;
      block.scale[s] = trial.scale[s];
      block.min[s] = trial.min[s];
    }
}

/// Least squares for d and dmin with the levels that the block has now.
AffineBlock refitted(const AffineShape& shape, const AffineBlock& block, const float* x,
                     const float* w) {
  double aa = 0, ab = 0, bb = 0, xa = 0,
         xb = 0;  // weighted sums of a = scale * level, b = min, and x
  float level[kSize];
  const int n = shape.sub_size();
  for (int s = 0; s < shape.subs; ++s) {
    levels_at(shape.levels(), x + s * n, n, block.scale_of(s), block.offset_of(s), level);
    Lanes ll{}, l{}, ww{}, xl{}, wx{};
    for (int i = 0; i < n; i += kLanes) {
      const Lanes v = load(x + s * n + i), weight = load(w + s * n + i),
                  wl = weight * load(level + i);
      ll += wl * load(level + i);
      l += wl;
      ww += weight;
      xl += wl * v;
      wx += weight * v;
    }
    const double scale = block.scale[s], min = block.min[s];
    aa += scale * scale * static_cast<double>(sum(ll));
    ab += scale * min * static_cast<double>(sum(l));
    bb += min * min * static_cast<double>(sum(ww));
    xa += scale * static_cast<double>(sum(xl));
    xb += min * static_cast<double>(sum(wx));
  }
  AffineBlock better = block;
  const double determinant = aa * bb - ab * ab;
  if (determinant > 0) {
    better.d = half_scale(static_cast<float>((xa * bb - xb * ab) / determinant));
    better.dmin = half_scale(static_cast<float>((xa * ab - xb * aa) / determinant));
  } else if (aa > 0) {
    better.d = half_scale(static_cast<float>(xa / aa));
  }
  return better;
}

AffineBlock fit_block(const AffineShape& shape, const float* x, const float* importance) {
  float w[kSize], largest_scale = 0, largest_min = 0;
  AffineFit fits[kMostSubs];
  fill_weights(x, importance, kSize, w);
  const int n = shape.sub_size();
  for (int s = 0; s < shape.subs; ++s) {
    fits[s] = fit_affine(shape.highest_level, x + s * n, w + s * n, n, true);
    largest_scale = std::max(largest_scale, fits[s].scale);
    largest_min = std::max(largest_min, -fits[s].offset);
  }
  const auto most = static_cast<float>(shape.highest_scale);
  AffineBlock block{half_scale(largest_scale / most), half_scale(largest_min / most), {}, {}};
  const auto in_units = [](float value, HalfScale unit) {
    return unit.value > 0 ? value / unit.value : 0.0f;
  };
  for (int s = 0; s < shape.subs; ++s)
    choose_integers(shape, block, s, in_units(fits[s].scale, block.d),
                    in_units(-fits[s].offset, block.dmin), x + s * n, w + s * n);
  const AffineBlock better = refitted(shape, block, x, w);
  return block_error(shape, better, x, w) < block_error(shape, block, x, w) ? better : block;
}

/// All levels of a block, as numbers from 0 on.
void block_levels(const AffineShape& shape, const AffineBlock& block, const float* x, int* q) {
  float level[kSize];
  const int n = shape.sub_size();
  for (int s = 0; s < shape.subs; ++s)
    levels_at(shape.levels(), x + s * n, n, block.scale_of(s), block.offset_of(s), level + s * n);
  for (int i = 0; i < kSize; ++i) q[i] = static_cast<int>(level[i]);
}

void block_levels(const SymmetricShape<UniformLevels>& shape, const SymmetricBlock& block,
                  const float* x, int* q) {
  float level[kSize];
  const int n = shape.sub_size();
  for (int s = 0; s < shape.subs; ++s)
    levels_at(shape.levels, x + s * n, n, block.d.value * static_cast<float>(block.scale[s]), 0,
              level + s * n);
  for (int i = 0; i < kSize; ++i) q[i] = static_cast<int>(level[i] - shape.levels.low);
}

// ---- formats

/// Two low bits of each level: a half of the block is four runs of 32 that share 32 bytes.
void pack_two_bits(const int* q, uint8_t* out) {
  for (int half = 0; half < 2; ++half)
    for (int l = 0; l < 32; ++l) {
      const int* at = q + half * 128 + l;
      out[half * 32 + l] = static_cast<uint8_t>((at[0] & 3) | (at[32] & 3) << 2 |
                                                (at[64] & 3) << 4 | (at[96] & 3) << 6);
    }
}

void encode_q2_k(const float* x, const float* importance, uint8_t* out) {
  const AffineShape shape{16, 3, 15};
  const AffineBlock block = fit_block(shape, x, importance);
  int q[kSize];
  block_levels(shape, block, x, q);
  for (int s = 0; s < 16; ++s) out[s] = static_cast<uint8_t>(block.scale[s] | block.min[s] << 4);
  pack_two_bits(q, out + 16);
  put16(out + 80, block.d.bits);
  put16(out + 82, block.dmin.bits);
}

void encode_q3_k(const float* x, const float* importance, uint8_t* out) {
  const SymmetricShape<UniformLevels> shape{{-4, 3}, 16, -32, 31};
  const SymmetricBlock block = fit_block(shape, x, importance);
  int q[kSize];
  block_levels(shape, block, x, q);
  std::fill(out, out + 32, uint8_t{0});
  for (int i = 0; i < kSize; ++i)
    out[i % 32] = static_cast<uint8_t>(out[i % 32] | (q[i] >> 2) << (i / 32));
  pack_two_bits(q, out + 32);
  uint8_t* scales = out + 96;
  std::fill(scales, scales + 12, uint8_t{0});
  for (int s = 0; s < 16; ++s) {
    const int stored = block.scale[s] + 32;
    scales[s % 8] = static_cast<uint8_t>(scales[s % 8] | (stored & 15) << (s / 8 * 4));
    scales[8 + s % 4] = static_cast<uint8_t>(scales[8 + s % 4] | (stored >> 4) << (s / 4 * 2));
  }
  put16(out + 108, block.d.bits);
}

/// Q4_K and Q5_K: d, dmin and eight pairs of 6-bit numbers in twelve bytes.
void pack_scales_and_mins(const AffineBlock& block, uint8_t* out) {
  put16(out, block.d.bits);
  put16(out + 2, block.dmin.bits);
  uint8_t* s = out + 4;
  for (int j = 0; j < 4; ++j) {
    s[j] = static_cast<uint8_t>(block.scale[j] | (block.scale[j + 4] >> 4) << 6);
    s[j + 4] = static_cast<uint8_t>(block.min[j] | (block.min[j + 4] >> 4) << 6);
    s[j + 8] = static_cast<uint8_t>((block.scale[j + 4] & 15) | (block.min[j + 4] & 15) << 4);
  }
}

/// Four low bits: each pair of sub-blocks of 32 shares 32 bytes.
void pack_paired_nibbles(const int* q, uint8_t* out) {
  for (int pair = 0; pair < 4; ++pair)
    for (int l = 0; l < 32; ++l)
      out[pair * 32 + l] =
          static_cast<uint8_t>((q[pair * 64 + l] & 15) | (q[pair * 64 + 32 + l] & 15) << 4);
}

void encode_q4_k(const float* x, const float* importance, uint8_t* out) {
  const AffineShape shape{8, 15, 63};
  const AffineBlock block = fit_block(shape, x, importance);
  int q[kSize];
  block_levels(shape, block, x, q);
  pack_scales_and_mins(block, out);
  pack_paired_nibbles(q, out + 16);
}

void encode_q5_k(const float* x, const float* importance, uint8_t* out) {
  const AffineShape shape{8, 31, 63};
  const AffineBlock block = fit_block(shape, x, importance);
  int q[kSize];
  block_levels(shape, block, x, q);
  pack_scales_and_mins(block, out);
  std::fill(out + 16, out + 48, uint8_t{0});
  for (int i = 0; i < kSize; ++i)
    out[16 + i % 32] = static_cast<uint8_t>(out[16 + i % 32] | (q[i] >> 4) << (i / 32));
  pack_paired_nibbles(q, out + 48);
}

void encode_q6_k(const float* x, const float* importance, uint8_t* out) {
  const SymmetricShape<UniformLevels> shape{{-32, 31}, 16, -128, 127};
  const SymmetricBlock block = fit_block(shape, x, importance);
  int q[kSize], high[kSize];
  block_levels(shape, block, x, q);
  for (int half = 0; half < 2; ++half)
    for (int l = 0; l < 64; ++l) {
      const int* at = q + half * 128 + l;
      out[half * 64 + l] = static_cast<uint8_t>((at[0] & 15) | (at[64] & 15) << 4);
    }
  for (int i = 0; i < kSize; ++i) high[i] = q[i] >> 4;
  pack_two_bits(high, out + 128);
  for (int s = 0; s < 16; ++s) out[192 + s] = static_cast<uint8_t>(block.scale[s]);
  put16(out + 208, block.d.bits);
}

void encode_iq4_xs(const float* x, const float* importance, uint8_t* out) {
  const SymmetricShape<CodebookLevels> shape{{}, 8, -32, 31};
  const SymmetricBlock block = fit_block(shape, x, importance);
  int scales_high = 0;
  std::fill(out + 4, out + 8, uint8_t{0});
  for (int s = 0; s < 8; ++s) {
    const int stored = block.scale[s] + 32;
    scales_high |= (stored >> 4) << (s * 2);
    out[4 + s / 2] = static_cast<uint8_t>(out[4 + s / 2] | (stored & 15) << (s % 2 * 4));
    int q[32];
    codebook_indices(x + s * 32, 32, block.d.value * static_cast<float>(block.scale[s]), q);
    for (int j = 0; j < 16; ++j) out[8 + s * 16 + j] = static_cast<uint8_t>(q[j] | q[j + 16] << 4);
  }
  put16(out, block.d.bits);
  put16(out + 2, static_cast<uint16_t>(scales_high));
}

}  // namespace

Encoder k_block_encoder(TensorType type) {
  using enum TensorType;
  switch (type) {
    case kQ2_K:
      return encode_q2_k;
    case kQ3_K:
      return encode_q3_k;
    case kQ4_K:
      return encode_q4_k;
    case kQ5_K:
      return encode_q5_k;
    case kQ6_K:
      return encode_q6_k;
    case kIQ4_XS:
      return encode_iq4_xs;
    default:
      return nullptr;
  }
}

}  // namespace spnl::modelkit::quantize
