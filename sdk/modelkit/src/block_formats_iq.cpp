// Block layouts below four bits a weight, as published with the GGUF format: codebooks (IQ),
// ternary (TQ), one and two plain bits, and the four-bit floats with scales of their own (NVFP4).
#include "block_codebooks.h"
#include "block_decoders.h"

namespace spnl::modelkit::blocks {
namespace {

constexpr float kGrid2Values[4] = {8, 25, 43, 0};
constexpr float kGrid3XxsValues[8] = {4, 12, 20, 28, 36, 44, 52, 62};

/// Eight signs from seven bits: the number of minus signs is even.
unsigned even_signs(unsigned seven) {
  return seven | static_cast<unsigned>(__builtin_parity(seven)) << 7;
}

float with_sign(float value, unsigned signs, int j) { return (signs >> j) & 1 ? -value : value; }

void put_grid2(uint16_t entry, float scale, unsigned signs, float* y) {
  for (int j = 0; j < 8; ++j)
    y[j] = with_sign(scale * kGrid2Values[(entry >> (2 * j)) & 3], signs, j);
}

void put_grid1(unsigned index, float scale, float delta, float* y) {
  const unsigned entry = kGrid1[index];
  for (int j = 0; j < 8; ++j)
    y[j] = scale * (static_cast<float>(static_cast<int>((entry >> (2 * j)) & 3) - 1) + delta);
}

constexpr float kDelta = 0.125f;  // IQ1: how far the values lie off the grid

}  // namespace

void decode_iq2_xxs(Bytes b, float* y) {
  const float d = f16(b);
  for (int sub = 0; sub < 8; ++sub) {
    const Bytes indices = b + 2 + sub * 8;
    const uint32_t rest = u32(indices + 4);
    const float scale = d * (0.5f + static_cast<float>(rest >> 28)) * 0.25f;
    for (int i = 0; i < 4; ++i)
      put_grid2(kGrid2Xxs[indices[i]], scale, even_signs((rest >> (7 * i)) & 127),
                y + sub * 32 + i * 8);
  }
}

void decode_iq2_xs(Bytes b, float* y) {
  const float d = f16(b);
  for (int i = 0; i < 32; ++i) {
    const unsigned q = u16(b + 2 + i * 2);
    const int nibble = (b[66 + i / 4] >> (i / 2 % 2 * 4)) & 15;
    put_grid2(kGrid2Xs[q & 511], d * (0.5f + static_cast<float>(nibble)) * 0.25f,
              even_signs(q >> 9), y + i * 8);
  }
}

void decode_iq2_s(Bytes b, float* y) {
  const Bytes low = b + 2, signs = b + 34, high = b + 66, scales = b + 74;
  const float d = f16(b);
  for (int i = 0; i < 32; ++i) {
    const int index = low[i] | ((high[i / 4] >> (i % 4 * 2)) & 3) << 8;
    const int nibble = (scales[i / 4] >> (i / 2 % 2 * 4)) & 15;
    put_grid2(kGrid2S[index], d * (0.5f + static_cast<float>(nibble)) * 0.25f, signs[i], y + i * 8);
  }
}

void decode_iq3_xxs(Bytes b, float* y) {
  const Bytes indices = b + 2;
  const float d = f16(b);
  for (int i = 0; i < 64; ++i) {  // fours; two share a group of signs, eight a scale
    const uint32_t rest = u32(b + 66 + i / 8 * 4);
    const float scale = d * (0.5f + static_cast<float>(rest >> 28)) * 0.5f;
    const unsigned signs = even_signs((rest >> (i % 8 / 2 * 7)) & 127);
    for (int j = 0; j < 4; ++j)
      y[i * 4 + j] = with_sign(scale * kGrid3XxsValues[(kGrid3Xxs[indices[i]] >> (3 * j)) & 7],
                               signs, i % 2 * 4 + j);
  }
}

void decode_iq3_s(Bytes b, float* y) {
  const Bytes low = b + 2, high = b + 66, signs = b + 74, scales = b + 106;
  const float d = f16(b);
  for (int i = 0; i < 64; ++i) {
    const int nibble = (scales[i / 16] >> (i / 8 % 2 * 4)) & 15;
    const float scale = d * static_cast<float>(1 + 2 * nibble);
    const unsigned entry = kGrid3S[low[i] | ((high[i / 8] >> (i % 8)) & 1) << 8];
    for (int j = 0; j < 4; ++j)
      y[i * 4 + j] = with_sign(scale * static_cast<float>(1 + 2 * ((entry >> (3 * j)) & 7)),
                               signs[i / 2], i % 2 * 4 + j);
  }
}

void decode_iq1_s(Bytes b, float* y) {
  const float d = f16(b);
  for (int i = 0; i < 32; ++i) {
    const unsigned high = u16(b + 34 + i / 4 * 2);
    const float scale = d * static_cast<float>(2 * ((high >> 12) & 7) + 1);
    put_grid1(b[2 + i] | ((high >> (i % 4 * 3)) & 7) << 8, scale, high & 0x8000 ? -kDelta : kDelta,
              y + i * 8);
  }
}

void decode_iq1_m(Bytes b, float* y) {
  const Bytes scales = b + 48;
  // The highest four bits of four words are the bits of one float16.
  unsigned half = 0;
  for (int i = 0; i < 4; ++i) half |= static_cast<unsigned>(u16(scales + 2 * i) >> 12) << (4 * i);
  const float d = half_to_float(static_cast<uint16_t>(half));
  for (int i = 0; i < 32; ++i) {
    const unsigned nibble = (b[32 + i / 2] >> (i % 2 * 4)) & 15u;
    const int scale = (u16(scales + i / 8 * 2) >> (i / 2 % 4 * 3)) & 7;
    put_grid1(b[i] | (nibble & 7) << 8, d * static_cast<float>(2 * scale + 1),
              nibble & 8 ? -kDelta : kDelta, y + i * 8);
  }
}

void decode_tq1_0(Bytes b, float* y) {
  static constexpr uint8_t kPowers[5] = {1, 3, 9, 27, 81};
  const float d = f16(b + 52);
  // Five ternary digits a byte as a fraction of 256: the n-th is what stands before the point after
  // times 3^(n+1).
  const auto run = [&](int start, int width, int digits) {
    for (int n = 0; n < digits; ++n)
      for (int m = 0; m < width; ++m) {
        const auto shifted = static_cast<uint8_t>(b[start + m] * kPowers[n]);
        *y++ = d * static_cast<float>((shifted * 3 >> 8) - 1);
      }
  };
  run(0, 32, 5);
  run(32, 16, 5);
  run(48, 4, 4);
}

void decode_tq2_0(Bytes b, float* y) {
  const float d = f16(b + 64);
  for (int i = 0; i < 256; ++i) {
    const int q = (b[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
    y[i] = d * static_cast<float>(q - 1);
  }
}

void decode_q1_0(Bytes b, float* y) {
  const float d = f16(b);
  for (int i = 0; i < 128; ++i) y[i] = (b[2 + i / 8] >> (i % 8)) & 1 ? d : -d;
}

void decode_q2_0(Bytes b, float* y) {
  const float d = f16(b);
  for (int i = 0; i < 64; ++i)
    y[i] = d * static_cast<float>(((b[2 + i / 4] >> (i % 4 * 2)) & 3) - 1);
}

void decode_nvfp4(Bytes b, float* y) {
  for (int sub = 0; sub < 4; ++sub) {
    // An unsigned E4M3; the format has no NaN here, its code means 0.
    const float d = b[sub] == 0x7F ? 0 : 0.5f * float8_e4m3_to_float(b[sub] & 0x7F);
    const Bytes qs = b + 4 + sub * 8;
    for (int j = 0; j < 8; ++j) {
      y[sub * 16 + j] = d * static_cast<float>(kE2M1Doubled[qs[j] & 15]);
      y[sub * 16 + j + 8] = d * static_cast<float>(kE2M1Doubled[qs[j] >> 4]);
    }
  }
}

}  // namespace spnl::modelkit::blocks
