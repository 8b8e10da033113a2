// AVX2 with the dot products of VNNI. Included once, inside an anonymous namespace, after
// simd_avx2.inl.

struct V : Avx2 {
  static B prepare8(B q) { return q; }

  /// The sums are exact, as those of Avx2 are: the same bits.
  template <int Bits, int Steps, int Offset, int N>
  static void dots(const B* w, const int8_t* x, const int32_t* negsum, I* sums) {
    SPNL_UNROLL
    for (int n = 0; n < N; ++n) {
      sums[n] = Offset == 0
                    ? _mm256_setzero_si256()
                    : _mm256_slli_epi32(_mm256_set1_epi32(negsum[n]), __builtin_ctz(Offset | 256));
    }
    SPNL_UNROLL
    for (int j = 0; j < Steps; ++j) {
      SPNL_UNROLL
      for (int n = 0; n < N; ++n)
        sums[n] = _mm256_dpbusd_epi32(sums[n], w[j], four_columns(x + kGroup * n + 4 * j));
    }
  }
};
