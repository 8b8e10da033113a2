// Small helpers of the kernels. Included once, inside an anonymous namespace.

// Sums must stay in registers: GCC inlines large functions that are called twice only when told to.
#define SPNL_INLINE [[gnu::always_inline]] inline
// The scalar kernels define it empty.
#ifndef SPNL_UNROLL
#define SPNL_UNROLL _Pragma("GCC unroll 16")
#endif

template <int N>
struct Count {
  static constexpr int kValue = N;
};
/// Numbers of tokens that a product is compiled for.
template <int... N>
struct Sizes {};

[[maybe_unused]] inline uint16_t load_u16(const uint8_t* p) {
  uint16_t v;
  std::memcpy(&v, p, 2);
  return v;
}
[[maybe_unused]] inline void store_u16(uint8_t* p, uint16_t v) { std::memcpy(p, &v, 2); }
[[maybe_unused]] inline float bits_to_float(uint32_t bits) {
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
[[maybe_unused]] inline uint32_t float_to_bits(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return bits;
}

[[maybe_unused]] inline float half_bits_to_float(uint16_t h) {
  const uint32_t sign = uint32_t{h & 0x8000u} << 16, exponent = (h >> 10) & 31u,
                 fraction = h & 0x3ffu;
  if (exponent == 31) return bits_to_float(sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0) return bits_to_float(sign | ((exponent + 112) << 23) | (fraction << 13));
  const float f = static_cast<float>(fraction) * 0x1p-24f;
  return sign != 0 ? -f : f;
}

/// Round to nearest even.
[[maybe_unused]] inline uint16_t float_to_half_bits(float value) {
  const uint32_t bits = float_to_bits(value), sign = (bits >> 16) & 0x8000u,
                 magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {
    // Adding 0.5 puts the last place of a subnormal half at the last place of the float.
    const float shifted = bits_to_float(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (float_to_bits(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

[[maybe_unused]] inline uint16_t float_to_bf16_bits(float value) {
  const uint32_t bits = float_to_bits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/// exp(r) for |r| <= ln(2) / 2: the Taylor polynomial with its last terms adjusted (Cephes expf),
/// relative error below 1e-7.
template <class S>
inline typename S::F exp_polynomial(typename S::F r) {
  typename S::F p = S::set1(1.9875691500e-4f);
  p = S::fma(p, r, S::set1(1.3981999507e-3f));
  p = S::fma(p, r, S::set1(8.3334519073e-3f));
  p = S::fma(p, r, S::set1(4.1665795894e-2f));
  p = S::fma(p, r, S::set1(1.6666665459e-1f));
  p = S::fma(p, r, S::set1(5.0000001201e-1f));
  return S::add(S::fma(p, S::mul(r, r), r), S::set1(1.0f));
}

/// The largest |x| of 32, spread over the lanes.
template <class S>
SPNL_INLINE typename S::F largest_of_32(const float* x) {
  typename S::F most = S::abs(S::load(x));
  for (int i = S::kLanes; i < 32; i += S::kLanes) most = S::max(most, S::abs(S::load(x + i)));
  return most;
}

/// How far left -Stored * a sum is shifted to become -Offset * that sum; negative: right.
template <int Offset, int Stored>
constexpr int kOffsetShift = Offset == 0 ? 0 : __builtin_ctz(Offset | 256) - __builtin_ctz(Stored);
