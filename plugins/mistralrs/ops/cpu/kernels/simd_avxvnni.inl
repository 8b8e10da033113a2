// AVX2 with the dot products of VNNI. Included once, inside an anonymous namespace, after
// simd_avx2.inl.

struct V : Avx2 {
  static B prepare8(B q) { return q; }

  /// The sums are exact, as those of Avx2 are: the same bits.
  template <int Bits, int Steps, int Offset, int Stored, int N>
  static void dots(const B* w, const int8_t* x, const int32_t* offsets, I* sums) {
    SPNL_UNROLL
    for (int n = 0; n < N; ++n) sums[n] = offset_sum<Offset, Stored>(offsets[n]);
    SPNL_UNROLL
    for (int j = 0; j < Steps; ++j) {
      SPNL_UNROLL
      for (int n = 0; n < N; ++n)
        sums[n] = _mm256_dpbusd_epi32(sums[n], w[j], four_columns(x + kGroup * n + 4 * j));
    }
  }
};
