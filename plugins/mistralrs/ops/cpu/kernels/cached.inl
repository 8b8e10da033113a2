// Elements of the key and value cache. Included once, inside an anonymous namespace, after V.

/// Row p of the cache, from element d on.
template <KvType T>
struct Cached;
template <>
struct Cached<KvType::kF32> {
  static const uint8_t* at(const uint8_t* p, int d) { return p + 4 * d; }
  static V::F load(const uint8_t* p, int d) {
    return V::load(reinterpret_cast<const float*>(p) + d);
  }
  static float one(const uint8_t* p, int d) { return reinterpret_cast<const float*>(p)[d]; }
};
template <>
struct Cached<KvType::kF16> {
  static const uint8_t* at(const uint8_t* p, int d) { return p + 2 * d; }
  static V::F load(const uint8_t* p, int d) { return V::load_half(p + 2 * d); }
  static float one(const uint8_t* p, int d) { return half_bits_to_float(load_u16(p + 2 * d)); }
};
template <>
struct Cached<KvType::kBF16> {
  static const uint8_t* at(const uint8_t* p, int d) { return p + 2 * d; }
  static V::F load(const uint8_t* p, int d) { return V::load_bf16(p + 2 * d); }
  static float one(const uint8_t* p, int d) {
    return bits_to_float(uint32_t{load_u16(p + 2 * d)} << 16);
  }
};

template <>
struct Cached<KvType::kQ8_0> {
  static constexpr int kBytes = 2 + kKvQuantBlock;
  static const uint8_t* at(const uint8_t* p, int d) { return p + d / kKvQuantBlock * kBytes; }
  static V::F load(const uint8_t* p, int d) {
    const uint8_t* block = at(p, d);
    return V::mul(V::load_s8(block + 2 + d % kKvQuantBlock), V::set1_half(block));
  }
  static float one(const uint8_t* p, int d) {
    const uint8_t* block = at(p, d);
    return static_cast<int8_t>(block[2 + d % kKvQuantBlock]) * half_bits_to_float(load_u16(block));
  }
};

/// Asks for the line of a key or value that is read soon, into L2: the nearest cache holds what is
/// in use.
SPNL_INLINE void fetch_soon(const uint8_t* p) {
  __builtin_prefetch(p, /*write=*/0, /*locality=*/2);
}

/// The scale is rounded first, so that the bytes make up for it.
void store_block(const float* in, uint8_t* out) {
  const uint16_t bits = float_to_half_bits(V::reduce_max(largest_of_32<V>(in)) / 127.0f);
  const float d = half_bits_to_float(bits);
  int32_t sums[2];
  store_u16(out, bits);
  V::quantize32(in, d > 0 ? 1.0f / d : 0.0f, reinterpret_cast<int8_t*>(out + 2), sums);
}

void store(KvType type, const float* in, int64_t n, void* out) {
  uint8_t* p = static_cast<uint8_t*>(out);
  int64_t i = 0;
  if (type == KvType::kF32) {
    std::memcpy(p, in, static_cast<size_t>(n) * 4);
  } else if (type == KvType::kF16) {
    for (; i + V::kLanes <= n; i += V::kLanes) V::store_half(p + 2 * i, V::load(in + i));
    for (; i < n; ++i) store_u16(p + 2 * i, float_to_half_bits(in[i]));
  } else if (type == KvType::kQ8_0) {
    for (; i < n; i += kKvQuantBlock, p += Cached<KvType::kQ8_0>::kBytes) store_block(in + i, p);
  } else {
    for (; i < n; ++i) store_u16(p + 2 * i, float_to_bf16_bits(in[i]));
  }
}

/// Keys as columns: out[head_dim][kKeyTile] float32, zero from `keys` on.
template <KvType T>
void load_keys(const AttendArgs& a, int32_t begin, int32_t keys, float* out) {
  constexpr int kLanes = V::kLanes;
  const int whole = a.head_dim / kLanes * kLanes;
  for (int32_t k = 0; k < kKeyTile; k += kLanes) {
    if (k >= keys) {
      for (int d = 0; d < a.head_dim; ++d) V::store(out + d * kKeyTile + k, V::zero());
      continue;
    }
    const int32_t n = keys - k < kLanes ? keys - k : kLanes;
    const uint8_t* const* rows = a.key_rows + begin + k;
    for (int d = 0; d < whole; d += kLanes) {
      V::F block[kLanes];
      for (int i = 0; i < kLanes; ++i) block[i] = i < n ? Cached<T>::load(rows[i], d) : V::zero();
      V::transpose(block);
      SPNL_UNROLL
      for (int i = 0; i < kLanes; ++i) V::store(out + (d + i) * kKeyTile + k, block[i]);
    }
    for (int d = whole; d < a.head_dim; ++d) {
      for (int i = 0; i < kLanes; ++i) {
        out[d * kKeyTile + k + i] = i < n ? Cached<T>::one(rows[i], d) : 0.0f;
      }
    }
  }
}

/// out[keys][padded_value] float32.
template <KvType T>
void load_values(const AttendArgs& a, int32_t begin, int32_t keys, float* out) {
  const int whole = a.value_dim / V::kLanes * V::kLanes;
  for (int32_t k = 0; k < keys; ++k) {
    const uint8_t* row = a.value_rows[begin + k];
    float* to = out + k * a.padded_value;
    for (int d = 0; d < whole; d += V::kLanes) V::store(to + d, Cached<T>::load(row, d));
    for (int d = whole; d < a.padded_value; ++d) {
      to[d] = d < a.value_dim ? Cached<T>::one(row, d) : 0.0f;
    }
  }
}
