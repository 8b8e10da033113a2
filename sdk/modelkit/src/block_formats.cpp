// Block layouts of the GGUF tensor types, as published with the format (ggml's quantisation
// blocks), and single floats.
#include "spnl/modelkit/block_formats.h"

#include <bit>
#include <string>

#include "block_decoders.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

using namespace blocks;

int i8(uint8_t byte) { return static_cast<int8_t>(byte); }

void decode_f32(Bytes b, float* y) { *y = std::bit_cast<float>(u32(b)); }
void decode_f16(Bytes b, float* y) { *y = f16(b); }
void decode_bf16(Bytes b, float* y) { *y = bfloat16_to_float(u16(b)); }
void decode_f64(Bytes b, float* y) {
  const uint64_t bits = u32(b) | static_cast<uint64_t>(u32(b + 4)) << 32;
  *y = static_cast<float>(std::bit_cast<double>(bits));
}
void decode_f8_e4m3(Bytes b, float* y) { *y = float8_e4m3_to_float(*b); }
// The upper half of a float16.
void decode_f8_e5m2(Bytes b, float* y) { *y = half_to_float(static_cast<uint16_t>(*b << 8)); }
void decode_f8_e8m0(Bytes b, float* y) {
  *y = std::bit_cast<float>(*b == 255 ? 0x7FC00000u : *b == 0 ? 0x00400000u : uint32_t{*b} << 23);
}

// ---- 32 elements. Low nibbles are the first half of the block, high nibbles the second.

void decode_q4_0(Bytes b, float* y) {
  const float d = f16(b);
  for (int j = 0; j < 16; ++j) {
    const int q = b[2 + j];
    y[j] = d * static_cast<float>((q & 15) - 8);
    y[j + 16] = d * static_cast<float>((q >> 4) - 8);
  }
}

void decode_q4_1(Bytes b, float* y) {
  const float d = f16(b), m = f16(b + 2);
  for (int j = 0; j < 16; ++j) {
    const int q = b[4 + j];
    y[j] = d * static_cast<float>(q & 15) + m;
    y[j + 16] = d * static_cast<float>(q >> 4) + m;
  }
}

/// The fifth bits of all 32 elements are one word: bit j belongs to element j.
int five_bits(Bytes qs, uint32_t high, int element) {
  const int low = element < 16 ? qs[element] & 15 : qs[element - 16] >> 4;
  return low | static_cast<int>((high >> element) & 1u) << 4;
}

void decode_q5_0(Bytes b, float* y) {
  const float d = f16(b);
  const uint32_t high = u32(b + 2);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(five_bits(b + 6, high, j) - 16);
}

void decode_q5_1(Bytes b, float* y) {
  const float d = f16(b), m = f16(b + 2);
  const uint32_t high = u32(b + 4);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(five_bits(b + 8, high, j)) + m;
}

void decode_q8_0(Bytes b, float* y) {
  const float d = f16(b);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(i8(b[2 + j]));
}

constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};

void decode_iq4(float d, Bytes qs, float* y) {
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>(kIq4Values[qs[j] & 15]);
    y[j + 16] = d * static_cast<float>(kIq4Values[qs[j] >> 4]);
  }
}

void decode_iq4_nl(Bytes b, float* y) { decode_iq4(f16(b), b + 2, y); }

void decode_mxfp4(Bytes b, float* y) {
  // Half of 2^(e-127), which for e < 2 is a subnormal float32.
  const uint32_t e = b[0];
  const float d = std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>(kE2M1Doubled[b[1 + j] & 15]);
    y[j + 16] = d * static_cast<float>(kE2M1Doubled[b[1 + j] >> 4]);
  }
}

// ---- 256 elements ("K" formats): sub-blocks with small integer scales under one float16 pair.

void decode_q2_k(Bytes b, float* y) {
  const Bytes scales = b, qs = b + 16;
  const float d = f16(b + 80), dmin = f16(b + 82);
  for (int sub = 0; sub < 16; ++sub) {
    const int half = sub / 8, shift = sub % 8 / 2 * 2, start = half * 32 + sub % 2 * 16;
    const float scale = d * static_cast<float>(scales[sub] & 15);
    const float min = dmin * static_cast<float>(scales[sub] >> 4);
    for (int l = 0; l < 16; ++l)
      y[sub * 16 + l] = scale * static_cast<float>((qs[start + l] >> shift) & 3) - min;
  }
}

/// Sixteen 6-bit scales in twelve bytes: four low bits in s[0..7], two high bits in s[8..11].
int q3_scale(Bytes s, int sub) {
  const int low = sub < 8 ? s[sub] & 15 : s[sub - 8] >> 4;
  return (low | ((s[8 + sub % 4] >> (sub / 4 * 2)) & 3) << 4) - 32;
}

void decode_q3_k(Bytes b, float* y) {
  const Bytes high = b, qs = b + 32, scales = b + 96;
  const float d = f16(b + 108);
  for (int sub = 0; sub < 16; ++sub) {
    const int half = sub / 8, shift = sub % 8 / 2 * 2, column = sub % 2 * 16;
    const float scale = d * static_cast<float>(q3_scale(scales, sub));
    for (int l = 0; l < 16; ++l) {
      const int low = (qs[half * 32 + column + l] >> shift) & 3;
      const int keeps = (high[column + l] >> (sub / 2)) & 1;
      y[sub * 16 + l] = scale * static_cast<float>(low - (keeps ? 0 : 4));
    }
  }
}

struct ScaleMin {
  int scale, min;
};

/// Eight pairs of 6-bit numbers in twelve bytes (Q4_K and Q5_K).
ScaleMin q45_scale(Bytes s, int j) {
  if (j < 4) return {s[j] & 63, s[j + 4] & 63};
  return {(s[j + 4] & 15) | (s[j - 4] >> 6) << 4, (s[j + 4] >> 4) | (s[j] >> 6) << 4};
}

void decode_q4_k(Bytes b, float* y) {
  const float d = f16(b), dmin = f16(b + 2);
  for (int sub = 0; sub < 8; ++sub) {
    const auto [scale, min] = q45_scale(b + 4, sub);
    const float s = d * static_cast<float>(scale), m = dmin * static_cast<float>(min);
    const Bytes qs = b + 16 + sub / 2 * 32;
    for (int l = 0; l < 32; ++l) {
      const int q = sub % 2 == 0 ? qs[l] & 15 : qs[l] >> 4;
      y[sub * 32 + l] = s * static_cast<float>(q) - m;
    }
  }
}

void decode_q5_k(Bytes b, float* y) {
  const float d = f16(b), dmin = f16(b + 2);
  for (int sub = 0; sub < 8; ++sub) {
    const auto [scale, min] = q45_scale(b + 4, sub);
    const float s = d * static_cast<float>(scale), m = dmin * static_cast<float>(min);
    const Bytes high = b + 16, qs = b + 48 + sub / 2 * 32;
    for (int l = 0; l < 32; ++l) {
      const int low = sub % 2 == 0 ? qs[l] & 15 : qs[l] >> 4;
      y[sub * 32 + l] = s * static_cast<float>(low + ((high[l] >> sub) & 1) * 16) - m;
    }
  }
}

void decode_q6_k(Bytes b, float* y) {
  const float d = f16(b + 208);
  for (int sub = 0; sub < 16; ++sub) {
    // A half is 128 elements: four runs of 32 that share 64 bytes of low bits and 32 bytes of high
    // bits.
    const int half = sub / 8, run = sub % 8 / 2, column = sub % 2 * 16;
    const Bytes low = b + half * 64 + run % 2 * 32, high = b + 128 + half * 32;
    const float scale = d * static_cast<float>(i8(b[192 + sub]));
    for (int l = column; l < column + 16; ++l) {
      const int nibble = run < 2 ? low[l] & 15 : low[l] >> 4;
      const int q = nibble | ((high[l] >> (run * 2)) & 3) << 4;
      y[half * 128 + run * 32 + l] = scale * static_cast<float>(q - 32);
    }
  }
}

void decode_iq4_xs(Bytes b, float* y) {
  const float d = f16(b);
  const int scales_high = u16(b + 2);
  for (int sub = 0; sub < 8; ++sub) {
    const int low = (b[4 + sub / 2] >> (sub % 2 * 4)) & 15;
    const int scale = (low | ((scales_high >> (sub * 2)) & 3) << 4) - 32;
    decode_iq4(d * static_cast<float>(scale), b + 8 + sub * 16, y + sub * 32);
  }
}

Decoder decoder_of(TensorType type) {
  using enum TensorType;
  switch (type) {
    case kF32:
      return decode_f32;
    case kF16:
      return decode_f16;
    case kBF16:
      return decode_bf16;
    case kQ4_0:
      return decode_q4_0;
    case kQ4_1:
      return decode_q4_1;
    case kQ5_0:
      return decode_q5_0;
    case kQ5_1:
      return decode_q5_1;
    case kQ8_0:
      return decode_q8_0;
    case kQ2_K:
      return decode_q2_k;
    case kQ3_K:
      return decode_q3_k;
    case kQ4_K:
      return decode_q4_k;
    case kQ5_K:
      return decode_q5_k;
    case kQ6_K:
      return decode_q6_k;
    case kIQ4_NL:
      return decode_iq4_nl;
    case kIQ4_XS:
      return decode_iq4_xs;
    case kMXFP4:
      return decode_mxfp4;
    case kNVFP4:
      return decode_nvfp4;
    case kIQ1_S:
      return decode_iq1_s;
    case kIQ1_M:
      return decode_iq1_m;
    case kIQ2_XXS:
      return decode_iq2_xxs;
    case kIQ2_XS:
      return decode_iq2_xs;
    case kIQ2_S:
      return decode_iq2_s;
    case kIQ3_XXS:
      return decode_iq3_xxs;
    case kIQ3_S:
      return decode_iq3_s;
    case kTQ1_0:
      return decode_tq1_0;
    case kTQ2_0:
      return decode_tq2_0;
    case kQ1_0:
      return decode_q1_0;
    case kQ2_0:
      return decode_q2_0;
    case kF64:
      return decode_f64;
    case kF8_E4M3:
      return decode_f8_e4m3;
    case kF8_E5M2:
      return decode_f8_e5m2;
    case kF8_E8M0:
      return decode_f8_e8m0;
    default:
      return nullptr;
  }
}

}  // namespace

void dequantize_row(TensorType type, const void* source, uint64_t elements, float* out) {
  const Decoder decode = decoder_of(type);
  const auto info = tensor_type_info(type);
  if (decode == nullptr || !info)
    throw Error(ErrorCode::kUnsupported,
                "tensor type " +
                    (info ? std::string(info->name) : std::to_string(static_cast<uint32_t>(type))) +
                    " cannot be decoded");
  Bytes block = static_cast<Bytes>(source);
  for (uint64_t i = 0; i < elements; i += info->block_elements, block += info->block_bytes)
    decode(block, out + i);
}

}  // namespace spnl::modelkit
