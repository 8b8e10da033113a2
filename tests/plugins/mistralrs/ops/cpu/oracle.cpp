#include "oracle.h"

#include <cmath>
#include <cstring>

namespace spnl::test {

using modelkit::TensorType;

double half_value(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

Blocks blocks_of(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return {1, 4};
    case TensorType::kQ4_0:
      return {32, 18};
    case TensorType::kQ4_1:
      return {32, 20};
    case TensorType::kQ5_0:
      return {32, 22};
    case TensorType::kQ5_1:
      return {32, 24};
    case TensorType::kQ8_0:
      return {32, 34};
    case TensorType::kQ2_K:
      return {256, 84};
    case TensorType::kQ3_K:
      return {256, 110};
    case TensorType::kIQ4_NL:
      return {32, 18};
    case TensorType::kIQ4_XS:
      return {256, 136};
    case TensorType::kMXFP4:
      return {32, 17};
    case TensorType::kQ4_K:
      return {256, 144};
    case TensorType::kQ5_K:
      return {256, 176};
    case TensorType::kQ6_K:
      return {256, 210};
    default:
      return {1, 2};
  }
}

namespace {

int u8(std::mt19937& random) { return static_cast<int>(random() & 255); }

void put_half(uint8_t* p, std::mt19937& random, bool may_be_negative) {
  const uint32_t exponent = 7 + random() % 5, sign = may_be_negative ? random() & 1 : 0;
  const auto bits = static_cast<uint16_t>((sign << 15) | (exponent << 10) | (random() & 1023));
  std::memcpy(p, &bits, 2);
}

double get_half(const uint8_t* p) {
  uint16_t bits;
  std::memcpy(&bits, p, 2);
  return half_value(bits);
}

int bit(const uint8_t* p, int i) { return (p[i / 8] >> (i % 8)) & 1; }

void decode_simple(TensorType type, const uint8_t* b, double* y) {
  const bool five = type == TensorType::kQ5_0 || type == TensorType::kQ5_1;
  const bool has_min = type == TensorType::kQ4_1 || type == TensorType::kQ5_1;
  const double d = get_half(b), m = has_min ? get_half(b + 2) : 0;
  const uint8_t* qh = b + (has_min ? 4 : 2);
  const uint8_t* qs = qh + (five ? 4 : 0);
  for (int j = 0; j < 32; ++j) {
    int q = j < 16 ? qs[j] & 15 : qs[j - 16] >> 4;
    if (five) q += 16 * bit(qh, j);
    y[j] = has_min ? d * q + m : d * (q - (five ? 16 : 8));
  }
}

void decode_q45_k(bool five, const uint8_t* b, double* y) {
  const double d = get_half(b), dmin = get_half(b + 2);
  const uint8_t* s = b + 4;
  const uint8_t* qs = b + (five ? 48 : 16);
  for (int i = 0; i < 256; ++i) {
    const int j = i / 32, g = j / 2;
    const int sc = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | ((s[j - 4] >> 6) << 4);
    const int mn = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | ((s[j] >> 6) << 4);
    const int byte = qs[32 * g + i % 32];
    int q = j % 2 == 0 ? byte & 15 : byte >> 4;
    if (five) q += 16 * ((b[16 + i % 32] >> j) & 1);
    y[i] = d * sc * q - dmin * mn;
  }
}

void decode_q6_k(const uint8_t* b, double* y) {
  const double d = get_half(b + 208);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* ql = b + 64 * half;
    const uint8_t* qh = b + 128 + 32 * half;
    const auto* sc = reinterpret_cast<const int8_t*>(b + 192 + 8 * half);
    for (int l = 0; l < 32; ++l) {
      const int q1 = (ql[l] & 15) | ((qh[l] & 3) << 4),
                q2 = (ql[l + 32] & 15) | (((qh[l] >> 2) & 3) << 4);
      const int q3 = (ql[l] >> 4) | (((qh[l] >> 4) & 3) << 4),
                q4 = (ql[l + 32] >> 4) | ((qh[l] >> 6) << 4);
      double* out = y + 128 * half + l;
      out[0] = d * sc[l / 16] * (q1 - 32);
      out[32] = d * sc[l / 16 + 2] * (q2 - 32);
      out[64] = d * sc[l / 16 + 4] * (q3 - 32);
      out[96] = d * sc[l / 16 + 6] * (q4 - 32);
    }
  }
}

void decode_q2_k(const uint8_t* b, double* y) {
  const double d = get_half(b + 80), dmin = get_half(b + 82);
  int is = 0;
  for (int half = 0; half < 2; ++half) {
    for (int shift = 0; shift < 8; shift += 2) {
      for (int l = 0; l < 32; ++l) {
        const int scale = b[is + l / 16];
        *y++ = d * (scale & 15) * ((b[16 + 32 * half + l] >> shift) & 3) - dmin * (scale >> 4);
      }
      is += 2;
    }
  }
}

void decode_q3_k(const uint8_t* b, double* y) {
  const uint8_t* s = b + 96;
  int sc[16];
  for (int i = 0; i < 4; ++i) {
    sc[i] = (s[i] & 15) | ((s[8 + i] & 3) << 4);
    sc[4 + i] = (s[4 + i] & 15) | (((s[8 + i] >> 2) & 3) << 4);
    sc[8 + i] = (s[i] >> 4) | (((s[8 + i] >> 4) & 3) << 4);
    sc[12 + i] = (s[4 + i] >> 4) | ((s[8 + i] >> 6) << 4);
  }
  const double d = get_half(b + 108);
  int is = 0, mask = 1;
  for (int half = 0; half < 2; ++half) {
    for (int shift = 0; shift < 8; shift += 2) {
      for (int l = 0; l < 32; ++l) {
        const int q = ((b[32 + 32 * half + l] >> shift) & 3) - ((b[l] & mask) != 0 ? 0 : 4);
        *y++ = d * (sc[is + l / 16] - 32) * q;
      }
      is += 2;
      mask *= 2;
    }
  }
}

constexpr int kIq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr double kE2m1[8] = {0, .5, 1, 1.5, 2, 3, 4, 6};

void decode_iq4_xs(const uint8_t* b, double* y) {
  for (int ib = 0; ib < 8; ++ib) {
    const int low = (b[4 + ib / 2] >> (4 * (ib % 2))) & 15;
    const int high = ((b[2] + 256 * b[3]) >> (2 * ib)) & 3;
    const double scale = get_half(b) * ((low | (high << 4)) - 32);
    for (int j = 0; j < 16; ++j) {
      const int byte = b[8 + 16 * ib + j];
      y[32 * ib + j] = scale * kIq4[byte & 15];
      y[32 * ib + 16 + j] = scale * kIq4[byte >> 4];
    }
  }
}

void decode_block(TensorType type, const uint8_t* b, double* y) {
  switch (type) {
    case TensorType::kF32: {
      float f;
      std::memcpy(&f, b, 4);
      *y = f;
      break;
    }
    case TensorType::kF16:
      *y = get_half(b);
      break;
    case TensorType::kBF16: {
      const uint32_t bits = static_cast<uint32_t>(b[0] | (b[1] << 8)) << 16;
      float f;
      std::memcpy(&f, &bits, 4);
      *y = f;
      break;
    }
    case TensorType::kQ8_0:
      for (int j = 0; j < 32; ++j) y[j] = get_half(b) * static_cast<int8_t>(b[2 + j]);
      break;
    case TensorType::kQ4_K:
    case TensorType::kQ5_K:
      decode_q45_k(type == TensorType::kQ5_K, b, y);
      break;
    case TensorType::kQ6_K:
      decode_q6_k(b, y);
      break;
    case TensorType::kQ2_K:
      decode_q2_k(b, y);
      break;
    case TensorType::kQ3_K:
      decode_q3_k(b, y);
      break;
    case TensorType::kIQ4_XS:
      decode_iq4_xs(b, y);
      break;
    case TensorType::kIQ4_NL:
      for (int j = 0; j < 32; ++j) {
        y[j] = get_half(b) * kIq4[j < 16 ? b[2 + j] & 15 : b[2 + j - 16] >> 4];
      }
      break;
    case TensorType::kMXFP4:
      for (int j = 0; j < 32; ++j) {
        const int q = j < 16 ? b[1 + j] & 15 : b[1 + j - 16] >> 4;
        y[j] = std::ldexp(kE2m1[q & 7], b[0] - 127) * (q < 8 ? 1 : -1);
      }
      break;
    default:
      decode_simple(type, b, y);
  }
}

}  // namespace

std::vector<uint8_t> random_tensor(TensorType type, int64_t elements, std::mt19937& random) {
  const Blocks blocks = blocks_of(type);
  const int64_t count = elements / blocks.elements;
  std::vector<uint8_t> data(static_cast<size_t>(count * blocks.bytes));
  for (int64_t i = 0; i < count; ++i) {
    uint8_t* b = data.data() + i * blocks.bytes;
    for (int j = 0; j < blocks.bytes; ++j) b[j] = static_cast<uint8_t>(u8(random));
    switch (type) {
      case TensorType::kF32: {
        const float f = std::uniform_real_distribution<float>(-0.2f, 0.2f)(random);
        std::memcpy(b, &f, 4);
        break;
      }
      case TensorType::kBF16: {
        const float f = std::uniform_real_distribution<float>(-0.2f, 0.2f)(random);
        uint32_t bits;
        std::memcpy(&bits, &f, 4);
        b[0] = static_cast<uint8_t>(bits >> 16);
        b[1] = static_cast<uint8_t>(bits >> 24);
        break;
      }
      case TensorType::kQ6_K:
        put_half(b + 208, random, true);
        break;
      case TensorType::kQ3_K:
        put_half(b + 108, random, true);
        break;
      case TensorType::kQ2_K:
        put_half(b + 80, random, true);
        put_half(b + 82, random, true);
        break;
      case TensorType::kMXFP4:
        b[0] = static_cast<uint8_t>(118 + random() % 8);
        break;
      case TensorType::kQ4_1:
      case TensorType::kQ5_1:
      case TensorType::kQ4_K:
      case TensorType::kQ5_K:
        put_half(b + 2, random, true);
        put_half(b, random, true);
        break;
      default:
        put_half(b, random, true);
    }
  }
  return data;
}

std::vector<double> decode(TensorType type, const std::vector<uint8_t>& data, int64_t elements) {
  const Blocks blocks = blocks_of(type);
  std::vector<double> y(static_cast<size_t>(elements));
  for (int64_t i = 0; i < elements / blocks.elements; ++i) {
    decode_block(type, data.data() + i * blocks.bytes, y.data() + i * blocks.elements);
  }
  return y;
}

std::vector<float> random_floats(size_t n, float limit, std::mt19937& random) {
  std::uniform_real_distribution<float> distribution(-limit, limit);
  std::vector<float> v(n);
  for (float& x : v) x = distribution(random);
  return v;
}

}  // namespace spnl::test
