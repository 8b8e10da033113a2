// 16 lanes of AVX-512 with VNNI. Included once, inside an anonymous namespace.

struct V {
  static constexpr int kLanes = 16;
  using TokenSizes = Sizes<16, 12, 8, 7, 6, 5, 4, 3, 2, 1>;  ///< of 32 registers 8 hold weights
  using FloatTokenSizes = Sizes<12, 8, 6, 4, 3, 2, 1>;
  static constexpr int kSumRegisters = 20;  ///< of 32; the rest hold weights and scales
  using AttendRows = Sizes<6, 4, 3, 2, 1>;
  using DirectRows = Sizes<1, 2, 3, 4, 5, 6, 7, 8>;
  static constexpr int kAttendRows = 6;
  static constexpr int kAttendVectors = 4;
  using F = __m512;
  using I = __m512i;
  using B = __m512i;

  static __mmask16 first_n(int n) {
    return static_cast<__mmask16>(n <= 0 ? 0u : n >= 16 ? 0xffffu : (1u << n) - 1u);
  }

  static F zero() { return _mm512_setzero_ps(); }
  static F set1(float x) { return _mm512_set1_ps(x); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static F load_n(const float* p, int n) { return _mm512_maskz_loadu_ps(first_n(n), p); }
  static void store(float* p, F a) { _mm512_storeu_ps(p, a); }
  static void store_n(float* p, F a, int n) { _mm512_mask_storeu_ps(p, first_n(n), a); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F fnma(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }
  static F abs(F a) { return _mm512_abs_ps(a); }
  static float reduce_add(F a) { return _mm512_reduce_add_ps(a); }
  static float reduce_max(F a) { return _mm512_reduce_max_ps(a); }
  static F exp(F a) {
    a = _mm512_min_ps(a, set1(88.3f));
    const F n = _mm512_roundscale_ps(mul(a, set1(1.44269504f)),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const F r = fnma(n, set1(-2.12194440e-4f), fnma(n, set1(0.693359375f), a));
    // scalef turns far negative inputs into 0; -inf has no remainder, so it is masked.
    const __mmask16 alive = _mm512_cmp_ps_mask(a, set1(-87.3f), _CMP_NLT_UQ);
    return _mm512_maskz_scalef_ps(alive, exp_polynomial<V>(r), n);
  }
  static F keep(F a, int first, int last, float other) {
    const __mmask16 mask = static_cast<__mmask16>(first_n(last) & ~first_n(first));
    return _mm512_mask_blend_ps(mask, set1(other), a);
  }

  static F load_half(const uint8_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static F set1_half(const uint8_t* p) {
    return _mm512_cvtph_ps(_mm256_set1_epi16(static_cast<int16_t>(load_u16(p))));
  }
  static F load_bf16(const uint8_t* p) {
    const __m512i wide =
        _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
  }
  static void store_half(uint8_t* p, F a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
  }
  static F load_u8(const uint8_t* p) {
    return _mm512_cvtepi32_ps(
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static F load_s8(const uint8_t* p) {
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static F load_low_nibbles(const uint8_t* p) {
    return _mm512_cvtepi32_ps(
        _mm512_and_si512(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
                         _mm512_set1_epi32(15)));
  }
  static F load_high_nibbles(const uint8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_srli_epi32(
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 4));
  }
  static F to_float(I a) { return _mm512_cvtepi32_ps(a); }

  static B load_bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static B low_nibbles(B a) { return _mm512_and_si512(a, _mm512_set1_epi8(15)); }
  static B high_nibbles(B a) {
    return _mm512_and_si512(_mm512_srli_epi16(a, 4), _mm512_set1_epi8(15));
  }
  /// q | (a & mask)
  static B merge_bits(B q, B a, char mask) {
    return _mm512_ternarylogic_epi32(q, a, _mm512_set1_epi8(mask), 0xf8);
  }
  template <int Left>
  static B shift(B a) {
    if constexpr (Left > 0) return _mm512_slli_epi16(a, Left);
    if constexpr (Left < 0) return _mm512_srli_epi16(a, -Left);
    return a;
  }
  template <int Field>
  static B two_bits(B a) {
    return _mm512_and_si512(shift<-2 * Field>(a), _mm512_set1_epi8(3));
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
        _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)));
    return _mm512_shuffle_epi8(_mm512_xor_si512(table, _mm512_set1_epi8(-128)), q);
  }
  static B prepare8(B q) { return q; }

  /// -Offset * sum of x, from -Stored * sum of x.
  template <int Offset, int Stored>
  static I offset_sum(int32_t stored) {
    constexpr int kLeft = kOffsetShift<Offset, Stored>;
    if constexpr (Offset == 0) return _mm512_setzero_si512();
    const I sum = _mm512_set1_epi32(stored);
    if constexpr (kLeft > 0) return _mm512_slli_epi32(sum, kLeft);
    if constexpr (kLeft < 0) return _mm512_srai_epi32(sum, -kLeft);
    return sum;
  }
  /// sum + four columns of w times the same of x. Assembly since GCC 12 broadcasts x to a register
  /// first: a third more instructions, and the CPU sees less far ahead.
  static I add_four(I sum, B w, const int8_t* x) {
    struct Four {
      int8_t columns[4];
    };
    __asm__("vpdpbusd %2%{1to16%}, %1, %0"
            : "+v"(sum)
            : "v"(w), "m"(*reinterpret_cast<const Four*>(x)));
    return sum;
  }
  /// N tokens side by side: the sums of one alone would wait for each other.
  template <int Bits, int Steps, int Offset, int Stored, int N>
  static void dots(const B* w, const int8_t* x, const int32_t* offsets, I* sums) {
    SPNL_UNROLL
    for (int n = 0; n < N; ++n) sums[n] = offset_sum<Offset, Stored>(offsets[n]);
    SPNL_UNROLL
    for (int j = 0; j < Steps; ++j) {
      SPNL_UNROLL
      for (int n = 0; n < N; ++n) {
        sums[n] = add_four(sums[n], w[j], x + kGroup * n + 4 * j);
      }
    }
  }

  static I load_u8_pairs(const uint8_t* even, const uint8_t* odd) {
    const auto wide = [](const uint8_t* p) {
      return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    };
    return _mm512_or_si512(wide(even), _mm512_slli_epi32(wide(odd), 16));
  }
  static I multiply_pairs(I pairs, int32_t x) {
    return _mm512_madd_epi16(pairs, _mm512_set1_epi32(x));
  }
  static I add_pairs(I sum, I pairs, int32_t x) {
    return _mm512_dpwssd_epi32(sum, pairs, _mm512_set1_epi32(x));
  }

  /// Rows become columns.
  static void transpose(F* rows) {
    __m512 a[16], b[16];
    SPNL_UNROLL
    for (int i = 0; i < 16; i += 2) {
      a[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
      a[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    SPNL_UNROLL
    for (int i = 0; i < 16; i += 4) {  // b[i + c]: column c of each quarter, rows i..i+3
      b[i + 0] = unpack_low(a[i], a[i + 2]);
      b[i + 1] = unpack_high(a[i], a[i + 2]);
      b[i + 2] = unpack_low(a[i + 1], a[i + 3]);
      b[i + 3] = unpack_high(a[i + 1], a[i + 3]);
    }
    SPNL_UNROLL
    for (int c = 0; c < 4; ++c) {
      const __m512 even0 = _mm512_shuffle_f32x4(b[c], b[4 + c], 0x88),
                   odd0 = _mm512_shuffle_f32x4(b[c], b[4 + c], 0xdd);
      const __m512 even1 = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0x88),
                   odd1 = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0xdd);
      rows[c] = _mm512_shuffle_f32x4(even0, even1, 0x88);
      rows[4 + c] = _mm512_shuffle_f32x4(odd0, odd1, 0x88);
      rows[8 + c] = _mm512_shuffle_f32x4(even0, even1, 0xdd);
      rows[12 + c] = _mm512_shuffle_f32x4(odd0, odd1, 0xdd);
    }
  }
  static F unpack_low(F a, F b) {
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
  static F unpack_high(F a, F b) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }

  static I quantize16(const float* x, F scale) { return _mm512_cvtps_epi32(mul(load(x), scale)); }
  /// What is no number becomes -2^31, and as a byte -128: sums of them stay small too.
  static void quantize32(const float* x, float scale, int8_t* q, int32_t* sums) {
    for (int h = 0; h < 2; ++h) {
      const I v = _mm512_max_epi32(quantize16(x + 16 * h, set1(scale)), _mm512_set1_epi32(-128));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(q + 16 * h), _mm512_cvtsepi32_epi8(v));
      sums[h] = _mm512_reduce_add_epi32(v);
    }
  }
  /// Two groups as bytes.
  static B quantize64(const float* x, const float* scales) {
    const F a = set1(scales[0]), b = set1(scales[1]);
    const I words[2] = {_mm512_packs_epi32(quantize16(x, a), quantize16(x + 16, a)),
                        _mm512_packs_epi32(quantize16(x + 32, b), quantize16(x + 48, b))};
    // Packing goes quarter by quarter.
    return _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
        _mm512_packs_epi16(words[0], words[1]));
  }
  /// Of 8 groups: quarter k, lane j is the sum of half k % 2 of group 2j + k / 2.
  static I quantize_8_groups(const float* x, const float* scales, int8_t* q, int64_t stride) {
    I s[4];
    SPNL_UNROLL
    for (int j = 0; j < 4; ++j) {
      const B two = quantize64(x + 64 * j, scales + 2 * j);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + 2 * j * stride),
                          _mm512_castsi512_si256(two));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + (2 * j + 1) * stride),
                          _mm512_extracti64x4_epi64(two, 1));
      s[j] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), two);
    }
    const I a =
        _mm512_add_epi32(_mm512_unpacklo_epi32(s[0], s[1]), _mm512_unpackhi_epi32(s[0], s[1]));
    const I b =
        _mm512_add_epi32(_mm512_unpacklo_epi32(s[2], s[3]), _mm512_unpackhi_epi32(s[2], s[3]));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
  }
  static void quantize_lanes(const float* x, const float* scales, int8_t* q, int64_t stride,
                             int32_t* low, int32_t* high) {
    const I a = quantize_8_groups(x, scales, q, stride);
    const I b = quantize_8_groups(x + 8 * kGroup, scales + 8, q + 8 * stride, stride);
    const I order = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 16, 24, 17, 25, 18, 26, 19, 27);
    _mm512_storeu_si512(low, _mm512_permutex2var_epi32(a, order, b));
    _mm512_storeu_si512(
        high, _mm512_permutex2var_epi32(a, _mm512_add_epi32(order, _mm512_set1_epi32(4)), b));
  }
};
