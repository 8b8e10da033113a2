// 8 lanes of AVX2 with FMA and F16C. Included once, inside an anonymous namespace.

struct Avx2 {
  static constexpr int kLanes = 8;
  using TokenSizes = Sizes<4, 3, 2, 1>;  ///< more do not fit 16 registers
  using FloatTokenSizes = Sizes<6, 4, 3, 2, 1>;
  static constexpr int kSumRegisters = 5;
  using AttendRows = Sizes<4, 3, 2, 1>;
  using DirectRows = Sizes<1, 2, 3, 4, 5, 6, 7, 8>;
  static constexpr int kAttendRows = 4;
  static constexpr int kAttendVectors = 2;
  using F = __m256;
  using I = __m256i;
  using B = __m256i;

  /// Lanes first <= lane < last.
  static __m256i lane_mask(int first, int last) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32(last), lane);
    return _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(first), lane), below);
  }

  static F zero() { return _mm256_setzero_ps(); }
  static F set1(float x) { return _mm256_set1_ps(x); }
  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static F load_n(const float* p, int n) {
    return n >= kLanes ? load(p) : _mm256_maskload_ps(p, lane_mask(0, n));
  }
  static void store(float* p, F a) { _mm256_storeu_ps(p, a); }
  static void store_n(float* p, F a, int n) {
    if (n >= kLanes) {
      store(p, a);
    } else {
      _mm256_maskstore_ps(p, lane_mask(0, n), a);
    }
  }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F fnma(F a, F b, F c) { return _mm256_fnmadd_ps(a, b, c); }
  static F abs(F a) { return _mm256_andnot_ps(set1(-0.0f), a); }
  static float reduce_add(F a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  static float reduce_max(F a) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
  }
  static F exp(F a) {
    a = _mm256_min_ps(a, set1(88.3f));
    const F alive = _mm256_cmp_ps(a, set1(-87.3f), _CMP_NLT_UQ);
    const F n =
        _mm256_round_ps(mul(a, set1(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const F r = fnma(n, set1(-2.12194440e-4f), fnma(n, set1(0.693359375f), a));
    const __m256i power =
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_and_ps(mul(exp_polynomial<Avx2>(r), _mm256_castsi256_ps(power)), alive);
  }
  static F keep(F a, int first, int last, float other) {
    return _mm256_blendv_ps(set1(other), a, _mm256_castsi256_ps(lane_mask(first, last)));
  }

  static __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
  static __m128i load64(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }
  static F load_half(const uint8_t* p) { return _mm256_cvtph_ps(load128(p)); }
  static F set1_half(const uint8_t* p) {
    return _mm256_cvtph_ps(_mm_set1_epi16(static_cast<int16_t>(load_u16(p))));
  }
  static F load_bf16(const uint8_t* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(p)), 16));
  }
  static void store_half(uint8_t* p, F a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
  }
  static F load_u8(const uint8_t* p) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load64(p))); }
  static F load_s8(const uint8_t* p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load64(p))); }
  static F load_low_nibbles(const uint8_t* p) {
    return _mm256_cvtepi32_ps(
        _mm256_and_si256(_mm256_cvtepu8_epi32(load64(p)), _mm256_set1_epi32(15)));
  }
  static F load_high_nibbles(const uint8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_srli_epi32(_mm256_cvtepu8_epi32(load64(p)), 4));
  }
  static F to_float(I a) { return _mm256_cvtepi32_ps(a); }

  static B load_bytes(const uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static B low_nibbles(B a) { return _mm256_and_si256(a, _mm256_set1_epi8(15)); }
  static B high_nibbles(B a) {
    return _mm256_and_si256(_mm256_srli_epi16(a, 4), _mm256_set1_epi8(15));
  }
  static B merge_bits(B q, B a, char mask) {
    return _mm256_or_si256(q, _mm256_and_si256(a, _mm256_set1_epi8(mask)));
  }
  template <int Left>
  static B shift(B a) {
    if constexpr (Left > 0) return _mm256_slli_epi16(a, Left);
    if constexpr (Left < 0) return _mm256_srli_epi16(a, -Left);
    return a;
  }
  template <int Field>
  static B two_bits(B a) {
    return _mm256_and_si256(shift<-2 * Field>(a), _mm256_set1_epi8(3));
  }
  template <int Bit, int To>
  static B add_bit(B q, B high) {
    return merge_bits(q, shift<To - Bit>(high), 1 << To);
  }
  template <int Field>
  static B add_two_bits(B q, B high) {
    return merge_bits(q, shift<4 - 2 * Field>(high), 0x30);
  }
  static B look_up(const int8_t* values, B q) {
    const B table =
        _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)));
    return _mm256_shuffle_epi8(_mm256_xor_si256(table, _mm256_set1_epi8(-128)), q);
  }
  /// Signed again: see dot.
  static B prepare8(B q) { return _mm256_xor_si256(q, _mm256_set1_epi8(-128)); }

  static __m256i four_columns(const int8_t* x) {
    int32_t four;
    std::memcpy(&four, x, 4);
    return _mm256_set1_epi32(four);
  }

  /// -Offset * sum of x, from -Stored * sum of x.
  template <int Offset, int Stored>
  static I offset_sum(int32_t stored) {
    constexpr int kLeft = kOffsetShift<Offset, Stored>;
    if constexpr (Offset == 0) return _mm256_setzero_si256();
    const I sum = _mm256_set1_epi32(stored);
    if constexpr (kLeft > 0) return _mm256_slli_epi32(sum, kLeft);
    if constexpr (kLeft < 0) return _mm256_srai_epi32(sum, -kLeft);
    return sum;
  }

  /// vpmaddubsw adds pairs of products in 16 bits. With x in -127..127 a pair is at most 2 * 127 *
  /// max(q): sums of 8 pairs fit for 4 bits, of 4 for 5 bits, of 2 for 6 bits. Bytes of 8 bits
  /// would overflow: there the signs of w go to x, and |w| <= 128 makes a pair at most 32512.
  template <int Bits, int Steps, int Offset, int Stored>
  static I dot(const B* w, const int8_t* x, int32_t stored) {
    constexpr int kFit = Bits <= 4 ? 8 : Bits == 5 ? 4 : Bits == 6 ? 2 : 1;
    I r = _mm256_setzero_si256();
    if constexpr (Bits != 8) r = offset_sum<Offset, Stored>(stored);
    const __m256i ones = _mm256_set1_epi16(1);
    SPNL_UNROLL
    for (int j = 0; j < Steps; j += kFit) {
      __m256i pairs = products<Bits>(w[j], four_columns(x + 4 * j));
      for (int i = 1; i < kFit && j + i < Steps; ++i) {
        pairs = _mm256_add_epi16(pairs, products<Bits>(w[j + i], four_columns(x + 4 * (j + i))));
      }
      r = _mm256_add_epi32(r, _mm256_madd_epi16(pairs, ones));
    }
    return r;
  }
  template <int Bits, int Steps, int Offset, int Stored, int N>
  static void dots(const B* w, const int8_t* x, const int32_t* offsets, I* sums) {
    SPNL_UNROLL
    for (int n = 0; n < N; ++n)
      sums[n] = dot<Bits, Steps, Offset, Stored>(w, x + kGroup * n, offsets[n]);
  }
  template <int Bits>
  static __m256i products(B w, __m256i x) {
    if constexpr (Bits == 8)
      return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_maddubs_epi16(w, x);
  }

  static I load_u8_pairs(const uint8_t* even, const uint8_t* odd) {
    return _mm256_or_si256(_mm256_cvtepu8_epi32(load64(even)),
                           _mm256_slli_epi32(_mm256_cvtepu8_epi32(load64(odd)), 16));
  }
  static I multiply_pairs(I pairs, int32_t x) {
    return _mm256_madd_epi16(pairs, _mm256_set1_epi32(x));
  }
  static I add_pairs(I sum, I pairs, int32_t x) {
    return _mm256_add_epi32(sum, multiply_pairs(pairs, x));
  }

  /// Rows become columns.
  static void transpose(F* rows) {
    F a[8], b[8];
    SPNL_UNROLL
    for (int i = 0; i < 8; i += 2) {
      a[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
      a[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    SPNL_UNROLL
    for (int i = 0; i < 8; i += 4) {  // b[i + c]: column c of each half, rows i..i+3
      b[i + 0] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
      b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
      b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
      b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    SPNL_UNROLL
    for (int c = 0; c < 4; ++c) {
      rows[c] = _mm256_permute2f128_ps(b[c], b[4 + c], 0x20);
      rows[4 + c] = _mm256_permute2f128_ps(b[c], b[4 + c], 0x31);
    }
  }

  static int32_t sum16(__m128i q) {
    __m128i s = _mm_madd_epi16(_mm_cvtepi8_epi16(q), _mm_set1_epi16(1));
    s = _mm_add_epi32(s,
                      _mm_madd_epi16(_mm_cvtepi8_epi16(_mm_srli_si128(q, 8)), _mm_set1_epi16(1)));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
  }
  static void quantize32(const float* x, float scale, int8_t* q, int32_t* sums) {
    const F s = set1(scale);
    for (int h = 0; h < 2; ++h) {
      const __m256i a = _mm256_cvtps_epi32(mul(load(x + 16 * h), s));
      const __m256i b = _mm256_cvtps_epi32(mul(load(x + 16 * h + 8), s));
      const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
      const __m128i bytes =
          _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(q + 16 * h), bytes);
      sums[h] = sum16(bytes);
    }
  }
  static void quantize_lanes(const float* x, const float* scales, int8_t* q, int64_t stride,
                             int32_t* low, int32_t* high) {
    for (int g = 0; g < kLanes; ++g) {
      int32_t sums[2];
      quantize32(x + kGroup * g, scales[g], q + g * stride, sums);
      low[g] = sums[0];
      high[g] = sums[1];
    }
  }
};
