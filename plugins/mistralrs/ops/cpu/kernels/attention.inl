// Rotary embedding and attention over one split of keys. Included once, inside an anonymous
// namespace, after V.

/// Branch-free, so that the compiler can use vectors. Cody-Waite reduction by pi/2 in three parts
/// (33 bits each as in fdlibm: products with a quadrant below 2^20 are exact), then the minimax
/// polynomials of fdlibm.
void rope_angles(const double* inv_freq, int64_t pairs, double position, double magnitude,
                 float* cos, float* sin) {
  constexpr double kLargest = 1 << 19;
  constexpr double kTwoOverPi = 6.36619772367581382433e-01, kRound = 6755399441055744.0;
  constexpr double kPart1 = 1.57079632673412561417e+00, kPart2 = 6.07710050630396597660e-11,
                   kPart3 = 2.02226624879595063154e-21;
  for (int64_t i = 0; i < pairs; ++i) {
    const double angle = position * inv_freq[i];
    const double shifted = angle * kTwoOverPi + kRound;
    const double n = shifted - kRound;
    int64_t quadrant;
    std::memcpy(&quadrant, &shifted, 8);
    const double r = ((angle - n * kPart1) - n * kPart2) - n * kPart3;
    const double z = r * r;
    const double s =
        r +
        r * z *
            (-1.66666666666666324348e-01 +
             z * (8.33333333332248946124e-03 +
                  z * (-1.98412698298579493134e-04 +
                       z * (2.75573137070700676789e-06 +
                            z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)))));
    const double c =
        1.0 - 0.5 * z +
        z * z *
            (4.16666666666666019037e-02 +
             z * (-1.38888888888741095749e-03 +
                  z * (2.48015872894767294178e-05 +
                       z * (-2.75573143513906633035e-07 +
                            z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11)))));
    const bool swap = (quadrant & 1) != 0;
    const double cos_sign = ((quadrant + 1) & 2) != 0 ? -magnitude : magnitude;
    const double sin_sign = (quadrant & 2) != 0 ? -magnitude : magnitude;
    cos[i] = static_cast<float>((swap ? s : c) * cos_sign);
    sin[i] = static_cast<float>((swap ? c : s) * sin_sign);
  }
  for (int64_t i = 0; i < pairs; ++i) {
    const double angle = position * inv_freq[i];
    if (__builtin_fabs(angle) <= kLargest) continue;
    cos[i] = static_cast<float>(__builtin_cos(angle) * magnitude);
    sin[i] = static_cast<float>(__builtin_sin(angle) * magnitude);
  }
}

void rotate(RopeKind kind, const float* in, const float* cos, const float* sin, int64_t pairs,
            int64_t head_dim, float scale, float* out) {
  if (kind == RopeKind::kHalfSplit) {
    for (int64_t i = 0; i < pairs; i += V::kLanes) {
      const int lanes = pairs - i < V::kLanes ? static_cast<int>(pairs - i) : V::kLanes;
      const V::F c = V::load_n(cos + i, lanes), s = V::load_n(sin + i, lanes), f = V::set1(scale);
      const V::F a = V::load_n(in + i, lanes), b = V::load_n(in + pairs + i, lanes);
      V::store_n(out + i, V::mul(V::fnma(b, s, V::mul(a, c)), f), lanes);
      V::store_n(out + pairs + i, V::mul(V::fma(a, s, V::mul(b, c)), f), lanes);
    }
  } else {
    for (int64_t i = 0; i < pairs; ++i) {
      const float a = in[2 * i], b = in[2 * i + 1];
      out[2 * i] = (a * cos[i] - b * sin[i]) * scale;
      out[2 * i + 1] = (a * sin[i] + b * cos[i]) * scale;
    }
  }
  for (int64_t i = 2 * pairs; i < head_dim; ++i) out[i] = in[i] * scale;
}

inline V::F load_cached(KvType type, const uint8_t* p) {
  if (type == KvType::kF16) return V::load_half(p);
  if (type == KvType::kBF16) return V::load_bf16(p);
  return V::load(reinterpret_cast<const float*>(p));
}

inline float load_cached_one(KvType type, const uint8_t* p, int i) {
  if (type == KvType::kF16) return half_bits_to_float(load_u16(p + 2 * i));
  if (type == KvType::kBF16) return bits_to_float(uint32_t{load_u16(p + 2 * i)} << 16);
  float f;
  std::memcpy(&f, p + 4 * i, 4);
  return f;
}

inline int cached_bytes(KvType type) { return type == KvType::kF32 ? 4 : 2; }

void store(KvType type, const float* in, int64_t n, void* out) {
  uint8_t* p = static_cast<uint8_t*>(out);
  if (type == KvType::kF32) {
    std::memcpy(p, in, static_cast<size_t>(n) * 4);
    return;
  }
  int64_t i = 0;
  if (type == KvType::kF16) {
    for (; i + V::kLanes <= n; i += V::kLanes) V::store_half(p + 2 * i, V::load(in + i));
    for (; i < n; ++i) store_u16(p + 2 * i, float_to_half_bits(in[i]));
  } else {
    for (; i < n; ++i) store_u16(p + 2 * i, float_to_bf16_bits(in[i]));
  }
}

/// Keys as columns: out[head_dim][kKeyTile] float32, zero from `keys` on.
void load_keys(const AttendArgs& a, int32_t begin, int32_t keys, float* out) {
  constexpr int kLanes = V::kLanes;
  const int whole = a.head_dim / kLanes * kLanes;
  for (int32_t k = 0; k < kKeyTile; k += kLanes) {
    if (k >= keys) {
      for (int d = 0; d < a.head_dim; ++d) V::store(out + d * kKeyTile + k, V::zero());
      continue;
    }
    const int32_t n = keys - k < kLanes ? keys - k : kLanes;
    for (int d = 0; d < whole; d += kLanes) {
      V::F rows[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        rows[i] = i < n ? load_cached(a.type, a.key_rows[begin + k + i] + d * cached_bytes(a.type))
                        : V::zero();
      }
      V::transpose(rows, out + d * kKeyTile + k, kKeyTile);
    }
    for (int d = whole; d < a.head_dim; ++d) {
      for (int i = 0; i < kLanes; ++i) {
        out[d * kKeyTile + k + i] =
            i < n ? load_cached_one(a.type, a.key_rows[begin + k + i], d) : 0.0f;
      }
    }
  }
}

/// out[keys][padded_dim] float32.
void load_values(const AttendArgs& a, int32_t begin, int32_t keys, float* out) {
  const int whole = a.head_dim / V::kLanes * V::kLanes;
  for (int32_t k = 0; k < keys; ++k) {
    const uint8_t* row = a.value_rows[begin + k];
    float* to = out + k * a.padded_dim;
    for (int d = 0; d < whole; d += V::kLanes)
      V::store(to + d, load_cached(a.type, row + d * cached_bytes(a.type)));
    for (int d = whole; d < a.padded_dim; ++d)
      to[d] = d < a.head_dim ? load_cached_one(a.type, row, d) : 0.0f;
  }
}

/// scores[r][kKeyTile] = q[r] . key, summed over the dimensions one after the other.
template <int R>
void score_rows(const float* q, int head_dim, const float* keys, float* scores) {
  constexpr int kVectors = V::kAttendVectors;
  for (int k = 0; k < kKeyTile; k += kVectors * V::kLanes) {
    V::F acc[R][kVectors];
    SPNL_UNROLL
    for (int r = 0; r < R; ++r) {
      SPNL_UNROLL
      for (int j = 0; j < kVectors; ++j) acc[r][j] = V::zero();
    }
    for (int d = 0; d < head_dim; ++d) {
      V::F key[kVectors];
      SPNL_UNROLL
      for (int j = 0; j < kVectors; ++j) key[j] = V::load(keys + d * kKeyTile + k + j * V::kLanes);
      SPNL_UNROLL
      for (int r = 0; r < R; ++r) {
        const V::F x = V::set1(q[r * head_dim + d]);
        SPNL_UNROLL
        for (int j = 0; j < kVectors; ++j) acc[r][j] = V::fma(x, key[j], acc[r][j]);
      }
    }
    SPNL_UNROLL
    for (int r = 0; r < R; ++r) {
      SPNL_UNROLL
      for (int j = 0; j < kVectors; ++j)
        V::store(scores + r * kKeyTile + k + j * V::kLanes, acc[r][j]);
    }
  }
}

/// out[r] += sum over keys begin..end-1 of weight * value, one after the other.
template <int R>
void add_values(const float* weights, const float* values, int padded_dim, int begin, int end,
                float* out) {
  constexpr int kMaxVectors = V::kAttendVectors;
  for (int d = 0; d < padded_dim; d += V::kLanes * kMaxVectors) {
    const int left = (padded_dim - d) / V::kLanes;
    const int vectors = left < kMaxVectors ? left : kMaxVectors;
    V::F acc[R][kMaxVectors];
    const auto run = [&](auto count) {
      constexpr int kVectors = decltype(count)::kValue;
      SPNL_UNROLL
      for (int r = 0; r < R; ++r) {
        SPNL_UNROLL
        for (int j = 0; j < kVectors; ++j)
          acc[r][j] = V::load(out + r * padded_dim + d + j * V::kLanes);
      }
      for (int k = begin; k < end; ++k) {
        V::F value[kVectors];
        SPNL_UNROLL
        for (int j = 0; j < kVectors; ++j)
          value[j] = V::load(values + k * padded_dim + d + j * V::kLanes);
        SPNL_UNROLL
        for (int r = 0; r < R; ++r) {
          const V::F x = V::set1(weights[r * kKeyTile + k]);
          SPNL_UNROLL
          for (int j = 0; j < kVectors; ++j) acc[r][j] = V::fma(x, value[j], acc[r][j]);
        }
      }
      SPNL_UNROLL
      for (int r = 0; r < R; ++r) {
        SPNL_UNROLL
        for (int j = 0; j < kVectors; ++j)
          V::store(out + r * padded_dim + d + j * V::kLanes, acc[r][j]);
      }
    };
    if (vectors == 1) {
      run(Count<1>{});
    } else if (vectors == 2 || kMaxVectors == 2) {
      run(Count<2>{});
    } else if (vectors == 3) {
      run(Count<3>{});
    } else {
      run(Count<kMaxVectors>{});
    }
  }
}

/// cap * tanh(x / cap)
inline V::F soft_cap(V::F x, float cap) {
  const V::F e = V::exp(V::mul(x, V::set1(2.0f / cap)));
  return V::mul(V::set1(cap),
                V::sub(V::set1(1.0f), V::div(V::set1(2.0f), V::add(e, V::set1(1.0f)))));
}

/// Scores become exp(score - max); rescales what the row has so far. first..last: the visible keys
/// of the tile.
void soften(const AttendArgs& a, int row, int first, int last, float* scores) {
  constexpr float kNegInf = -__builtin_inff();
  V::F most = V::set1(kNegInf);
  for (int k = 0; k < kKeyTile; k += V::kLanes) {
    V::F s = V::load(scores + k);
    if (a.softcap > 0) s = soft_cap(s, a.softcap);
    s = V::keep(s, first - k, last - k, kNegInf);
    V::store(scores + k, s);
    most = V::max(most, s);
  }
  const float old_max = a.max[row];
  const float tile_max = V::reduce_max(most);
  const float max = tile_max > old_max ? tile_max : old_max;
  const V::F base = V::set1(max);
  V::F sum = V::zero();
  for (int k = 0; k < kKeyTile; k += V::kLanes) {
    const V::F e = V::keep(V::exp(V::sub(V::load(scores + k), base)), first - k, last - k, 0.0f);
    V::store(scores + k, e);
    sum = V::add(sum, e);
  }
  const float keep = V::reduce_max(V::exp(V::set1(old_max - max)));
  a.max[row] = max;
  a.sum[row] = a.sum[row] * keep + V::reduce_add(sum);
  if (keep == 1.0f) return;
  float* out = a.out + int64_t{row} * a.padded_dim;
  const V::F f = V::set1(keep);
  for (int d = 0; d < a.padded_dim; d += V::kLanes) V::store(out + d, V::mul(V::load(out + d), f));
}

/// R query rows against the loaded tile; keys are numbered from the tile's first.
template <int R>
void attend_rows(const AttendArgs& a, int row, int32_t begin, int32_t keys, const float* key_tile,
                 const float* value_tile, float* scores) {
  int first[R], last[R];
  int lowest = keys, highest = 0;
  for (int r = 0; r < R; ++r) {
    const int32_t f = a.first[row + r] - begin, l = a.last[row + r] - begin;
    first[r] = f > 0 ? f : 0;
    last[r] = l < keys ? l : keys;
    if (first[r] >= last[r]) continue;
    lowest = first[r] < lowest ? first[r] : lowest;
    highest = last[r] > highest ? last[r] : highest;
  }
  if (lowest >= highest) return;
  score_rows<R>(a.q + int64_t{row} * a.head_dim, a.head_dim, key_tile, scores);
  for (int r = 0; r < R; ++r) {
    if (first[r] < last[r]) {
      soften(a, row + r, first[r], last[r], scores + r * kKeyTile);
    } else {
      for (int k = 0; k < kKeyTile; k += V::kLanes) V::store(scores + r * kKeyTile + k, V::zero());
    }
  }
  add_values<R>(scores, value_tile, a.padded_dim, lowest, highest,
                a.out + int64_t{row} * a.padded_dim);
}

/// All query rows by kernels of fixed sizes, largest first.
template <int... R>
void attend_by_rows(const AttendArgs& a, int32_t begin, int32_t keys, const float* key_tile,
                    const float* value_tile, float* scores, Sizes<R...>) {
  int row = 0;
  const auto take = [&](int size, auto kernel) {
    for (; a.q_rows - row >= size; row += size)
      kernel(a, row, begin, keys, key_tile, value_tile, scores);
  };
  (take(R, attend_rows<R>), ...);
}

void attend(const AttendArgs& a) {
  float* key_tile = a.scratch;
  float* value_tile = key_tile + int64_t{kKeyTile} * a.padded_dim;
  float* scores = value_tile + int64_t{kKeyTile} * a.padded_dim;
  int32_t lowest = a.keys, highest = 0;
  for (int r = 0; r < a.q_rows; ++r) {
    a.max[r] = -__builtin_inff();
    a.sum[r] = 0;
    if (a.first[r] >= a.last[r]) continue;
    lowest = a.first[r] < lowest ? a.first[r] : lowest;
    highest = a.last[r] > highest ? a.last[r] : highest;
  }
  std::memset(a.out, 0, static_cast<size_t>(a.q_rows) * static_cast<size_t>(a.padded_dim) * 4);
  for (int32_t begin = 0; begin < highest; begin += kKeyTile) {
    if (begin + kKeyTile <= lowest) continue;
    const int32_t keys = a.keys - begin < kKeyTile ? a.keys - begin : kKeyTile;
    load_keys(a, begin, keys, key_tile);
    load_values(a, begin, keys, value_tile);
    attend_by_rows(a, begin, keys, key_tile, value_tile, scores, V::AttendRows{});
  }
}

void merge(float part_max, float part_sum, const float* part, int padded_dim, float& max,
           float& sum, float* state) {
  if (!(part_sum > 0)) return;
  const float top = part_max > max ? part_max : max;
  const float keep = V::reduce_max(V::exp(V::set1(max - top)));
  const float take = V::reduce_max(V::exp(V::set1(part_max - top)));
  max = top;
  sum = sum * keep + part_sum * take;
  const V::F k = V::set1(keep), t = V::set1(take);
  for (int d = 0; d < padded_dim; d += V::kLanes) {
    V::store(state + d, V::fma(V::load(part + d), t, V::mul(V::load(state + d), k)));
  }
}
