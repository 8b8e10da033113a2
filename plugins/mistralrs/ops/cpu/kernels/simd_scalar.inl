// Plain C++ vectors of 8 lanes: the portable instruction set and the reference of the others.
// Included once, inside an anonymous namespace.

struct V {
  static constexpr int kLanes = 8;
  using TokenSizes = Sizes<4, 1>;
  using FloatTokenSizes = Sizes<4, 1>;
  static constexpr int kSumRegisters = 5;
  using AttendRows = Sizes<4, 1>;
  using DirectRows = Sizes<1, 2, 3, 4>;
  static constexpr int kAttendRows = 4;
  static constexpr int kAttendVectors = 2;
  struct F {
    float v[kLanes];
  };
  struct I {
    int32_t v[kLanes];
  };
  struct B {
    uint8_t v[4 * kLanes];
  };

  static F zero() { return set1(0.0f); }
  static F set1(float x) {
    F r;
    for (float& e : r.v) e = x;
    return r;
  }
  static F load(const float* p) {
    F r;
    std::memcpy(r.v, p, sizeof(r.v));
    return r;
  }
  static F load_n(const float* p, int n) {
    F r = zero();
    for (int i = 0; i < n; ++i) r.v[i] = p[i];
    return r;
  }
  static void store(float* p, F a) { std::memcpy(p, a.v, sizeof(a.v)); }
  static void store_n(float* p, F a, int n) {
    for (int i = 0; i < n; ++i) p[i] = a.v[i];
  }
  template <class Op>
  static F map(F a, F b, Op op) {
    F r;
    for (int i = 0; i < kLanes; ++i) r.v[i] = op(a.v[i], b.v[i]);
    return r;
  }
  static F add(F a, F b) {
    return map(a, b, [](float x, float y) { return x + y; });
  }
  static F sub(F a, F b) {
    return map(a, b, [](float x, float y) { return x - y; });
  }
  static F mul(F a, F b) {
    return map(a, b, [](float x, float y) { return x * y; });
  }
  static F div(F a, F b) {
    return map(a, b, [](float x, float y) { return x / y; });
  }
  static F max(F a, F b) {
    return map(a, b, [](float x, float y) { return x > y ? x : y; });
  }
  static F fma(F a, F b, F c) { return add(mul(a, b), c); }
  static F fnma(F a, F b, F c) { return sub(c, mul(a, b)); }
  static F abs(F a) {
    return map(a, a, [](float x, float) { return __builtin_fabsf(x); });
  }
  static float reduce_add(F a) {
    float s = 0;
    for (float e : a.v) s += e;
    return s;
  }
  static float reduce_max(F a) {
    float s = a.v[0];
    for (float e : a.v) s = s > e ? s : e;
    return s;
  }
  static F exp(F a) {
    for (float& e : a.v) e = e < -87.3f ? 0.0f : __builtin_expf(e > 88.3f ? 88.3f : e);
    return a;
  }
  /// a where first <= lane < last, otherwise `other`.
  static F keep(F a, int first, int last, float other) {
    for (int i = 0; i < kLanes; ++i) {
      if (i < first || i >= last) a.v[i] = other;
    }
    return a;
  }

  static F load_half(const uint8_t* p) {
    F r;
    for (int i = 0; i < kLanes; ++i) r.v[i] = half_bits_to_float(load_u16(p + 2 * i));
    return r;
  }
  static F set1_half(const uint8_t* p) { return set1(half_bits_to_float(load_u16(p))); }
  static F load_bf16(const uint8_t* p) {
    F r;
    for (int i = 0; i < kLanes; ++i) r.v[i] = bits_to_float(uint32_t{load_u16(p + 2 * i)} << 16);
    return r;
  }
  static void store_half(uint8_t* p, F a) {
    for (int i = 0; i < kLanes; ++i) store_u16(p + 2 * i, float_to_half_bits(a.v[i]));
  }
  static F load_u8(const uint8_t* p) {
    F r;
    for (int i = 0; i < kLanes; ++i) r.v[i] = p[i];
    return r;
  }
  static F load_s8(const uint8_t* p) {
    F r;
    for (int i = 0; i < kLanes; ++i) r.v[i] = static_cast<int8_t>(p[i]);
    return r;
  }
  static F load_low_nibbles(const uint8_t* p) {
    F r;
    for (int i = 0; i < kLanes; ++i) r.v[i] = static_cast<float>(p[i] & 15);
    return r;
  }
  static F load_high_nibbles(const uint8_t* p) {
    F r;
    for (int i = 0; i < kLanes; ++i) r.v[i] = static_cast<float>(p[i] >> 4);
    return r;
  }
  static F to_float(I a) {
    F r;
    for (int i = 0; i < kLanes; ++i) r.v[i] = static_cast<float>(a.v[i]);
    return r;
  }

  static B load_bytes(const uint8_t* p) {
    B r;
    std::memcpy(r.v, p, sizeof(r.v));
    return r;
  }
  static B low_nibbles(B a) {
    for (uint8_t& e : a.v) e &= 15;
    return a;
  }
  static B high_nibbles(B a) {
    for (uint8_t& e : a.v) e >>= 4;
    return a;
  }
  /// Bits 2 * Field and 2 * Field + 1 of each byte.
  template <int Field>
  static B two_bits(B a) {
    for (uint8_t& e : a.v) e = (e >> (2 * Field)) & 3;
    return a;
  }
  /// q | (bit `Bit` of each byte of high) << To
  template <int Bit, int To>
  static B add_bit(B q, B high) {
    for (int i = 0; i < 4 * kLanes; ++i) {
      q.v[i] = static_cast<uint8_t>(q.v[i] | (((high.v[i] >> Bit) & 1) << To));
    }
    return q;
  }
  /// q | two_bits<Field>(high) << 4
  template <int Field>
  static B add_two_bits(B q, B high) {
    high = two_bits<Field>(high);
    for (int i = 0; i < 4 * kLanes; ++i) q.v[i] = static_cast<uint8_t>(q.v[i] | (high.v[i] << 4));
    return q;
  }
  /// values[q] + 128
  static B look_up(const int8_t* values, B q) {
    for (uint8_t& e : q.v) e = static_cast<uint8_t>(values[e] ^ 0x80);
    return q;
  }
  static B prepare8(B q) { return q; }

  /// Sums of (q - Offset) * x over the 4 * Steps columns of w for N tokens; offsets: -Stored * the
  /// sum of x.
  template <int Bits, int Steps, int Offset, int Stored, int N>
  static void dots(const B* w, const int8_t* x, const int32_t* offsets, I* sums) {
    for (int n = 0; n < N; ++n, x += kGroup) {
      for (int lane = 0; lane < kLanes; ++lane) {
        int32_t s = offsets[n] / Stored * Offset;
        for (int j = 0; j < Steps; ++j) {
          for (int b = 0; b < 4; ++b) s += w[j].v[4 * lane + b] * x[4 * j + b];
        }
        sums[n].v[lane] = s;
      }
    }
  }

  /// Two integers of 16 bits a lane.
  static I load_u8_pairs(const uint8_t* even, const uint8_t* odd) {
    I r;
    for (int i = 0; i < kLanes; ++i) r.v[i] = even[i] | odd[i] << 16;
    return r;
  }
  /// Sums of both products of the pairs with the pair x.
  static I multiply_pairs(I pairs, int32_t x) {
    for (int32_t& e : pairs.v) {
      e = static_cast<int16_t>(e & 0xffff) * static_cast<int16_t>(x & 0xffff) +
          (e >> 16) * (x >> 16);
    }
    return pairs;
  }
  static I add_pairs(I sum, I pairs, int32_t x) {
    pairs = multiply_pairs(pairs, x);
    for (int i = 0; i < kLanes; ++i) sum.v[i] += pairs.v[i];
    return sum;
  }

  /// Rows become columns.
  static void transpose(F* rows) {
    for (int i = 0; i < kLanes; ++i) {
      for (int j = 0; j < i; ++j) {
        const float x = rows[i].v[j];
        rows[i].v[j] = rows[j].v[i];
        rows[j].v[i] = x;
      }
    }
  }

  /// q[i] = round to nearest even (x[i] * scale), 32 of them, and their sum in two halves.
  static void quantize32(const float* x, float scale, int8_t* q, int32_t* sums) {
    for (int h = 0; h < 2; ++h) {
      sums[h] = 0;
      for (int i = 16 * h; i < 16 * h + 16; ++i) {
        q[i] = static_cast<int8_t>(__builtin_lrintf(x[i] * scale));
        sums[h] += q[i];
      }
    }
  }
  /// The same of kLanes groups, whose bytes go `stride` bytes apart.
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
