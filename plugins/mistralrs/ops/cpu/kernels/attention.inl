// Attention over one split of keys. Included once, inside an anonymous namespace, after V and
// cached.inl.

/// scores[r][kKeyTile] = q[r] . key for N vectors of keys, summed over the dimensions one after the
/// other.
template <int R, int N>
void score_keys(const float* q, int head_dim, const float* keys, float* scores) {
  V::F acc[R][N];
  SPNL_UNROLL
  for (int r = 0; r < R; ++r) {
    SPNL_UNROLL
    for (int j = 0; j < N; ++j) acc[r][j] = V::zero();
  }
  for (int d = 0; d < head_dim; ++d) {
    V::F key[N];
    SPNL_UNROLL
    for (int j = 0; j < N; ++j) key[j] = V::load(keys + d * kKeyTile + j * V::kLanes);
    SPNL_UNROLL
    for (int r = 0; r < R; ++r) {
      const V::F x = V::set1(q[r * head_dim + d]);
      SPNL_UNROLL
      for (int j = 0; j < N; ++j) acc[r][j] = V::fma(x, key[j], acc[r][j]);
    }
  }
  SPNL_UNROLL
  for (int r = 0; r < R; ++r) {
    SPNL_UNROLL
    for (int j = 0; j < N; ++j) V::store(scores + r * kKeyTile + j * V::kLanes, acc[r][j]);
  }
}

/// The first `count` keys of a tile or a few more: the rows on the diagonal see half of one.
template <int R>
void score_rows(const float* q, int head_dim, const float* keys, int32_t count, float* scores) {
  constexpr int kStep = V::kAttendVectors * V::kLanes;
  int k = 0;
  for (; count - k > kStep - V::kLanes; k += kStep)
    score_keys<R, V::kAttendVectors>(q, head_dim, keys + k, scores + k);
  for (; k < count; k += V::kLanes) score_keys<R, 1>(q, head_dim, keys + k, scores + k);
}

/// How many keys ahead of its own attend_direct asks for: all of a tile, or as many as there are.
int32_t keys_ahead(const AttendArgs& a) { return a.keys < kKeyTile ? a.keys : kKeyTile; }

/// score_rows without a tile of keys: what few rows would read back once is not worth writing.
/// These come from memory since a step reads all weights between two uses of a key.
template <KvType T, int R>
void score_rows_direct(const AttendArgs& a, int32_t begin, int32_t count, float* scores) {
  constexpr int kLanes = V::kLanes;
  for (int32_t k = 0; k < count; k += kLanes) {
    const uint8_t *rows[kLanes], *ahead[kLanes];
    const int32_t most = count - k - 1;  // the last key again where there are no more: masked later
    for (int i = 0; i < kLanes; ++i) {
      const int32_t key = begin + k + (i < most ? i : most);
      rows[i] = a.key_rows[key];
      ahead[i] = a.key_rows[key + keys_ahead(a)];
    }
    V::F acc[R];
    SPNL_UNROLL
    for (int r = 0; r < R; ++r) acc[r] = V::zero();
    for (int d = 0; d < a.head_dim; d += kLanes) {
      V::F block[kLanes];
      SPNL_UNROLL
      for (int i = 0; i < kLanes; ++i) {
        block[i] = Cached<T>::load(rows[i], d);
        fetch_soon(Cached<T>::at(ahead[i], d));
      }
      V::transpose(block);
      SPNL_UNROLL
      for (int i = 0; i < kLanes; ++i) {
        SPNL_UNROLL
        for (int r = 0; r < R; ++r) {
          acc[r] = V::fma(V::set1(a.q[r * a.head_dim + d + i]), block[i], acc[r]);
        }
      }
    }
    SPNL_UNROLL
    for (int r = 0; r < R; ++r) V::store(scores + r * kKeyTile + k, acc[r]);
  }
}

/// out[r] += sum over keys begin..end-1 of weight * value, one after the other, for N vectors of a
/// row. load(k, d): elements d.. of the value of key k.
template <int R, int N, class Load>
inline void add_columns(const float* weights, const Load& load, int padded_value, int d, int begin,
                        int end, float* out) {
  V::F acc[R][N];
  SPNL_UNROLL
  for (int r = 0; r < R; ++r) {
    SPNL_UNROLL
    for (int j = 0; j < N; ++j) acc[r][j] = V::load(out + r * padded_value + d + j * V::kLanes);
  }
  for (int k = begin; k < end; ++k) {
    V::F value[N];
    SPNL_UNROLL
    for (int j = 0; j < N; ++j) value[j] = load(k, d + j * V::kLanes);
    SPNL_UNROLL
    for (int r = 0; r < R; ++r) {
      const V::F x = V::set1(weights[r * kKeyTile + k]);
      SPNL_UNROLL
      for (int j = 0; j < N; ++j) acc[r][j] = V::fma(x, value[j], acc[r][j]);
    }
  }
  SPNL_UNROLL
  for (int r = 0; r < R; ++r) {
    SPNL_UNROLL
    for (int j = 0; j < N; ++j) V::store(out + r * padded_value + d + j * V::kLanes, acc[r][j]);
  }
}

template <int R, class Load>
void add_values(const float* weights, const Load& load, int padded_value, int begin, int end,
                float* out) {
  constexpr int kFits = R <= V::kAttendRows ? V::kAttendVectors : V::kAttendVectors / 2;
  int d = 0;
  for (; d + kFits * V::kLanes <= padded_value; d += kFits * V::kLanes) {
    add_columns<R, kFits>(weights, load, padded_value, d, begin, end, out);
  }
  for (; d < padded_value; d += V::kLanes)
    add_columns<R, 1>(weights, load, padded_value, d, begin, end, out);
}

/// What one query row sees of a tile; keys are numbered from the tile's first.
struct VisibleKeys {
  VisibleKeys(const AttendArgs& a, int row, int32_t begin, int32_t keys)
      : first(a.first[row] - begin > 0 ? a.first[row] - begin : 0),
        last(a.last[row] - begin < keys ? a.last[row] - begin : keys) {}
  bool any() const { return first < last; }
  int32_t first, last;
};

/// The largest visible score; scores are capped.
float largest_score(const AttendArgs& a, VisibleKeys visible, float* scores) {
  constexpr float kNegInf = -__builtin_inff();
  V::F most = V::set1(kNegInf);
  for (int k = 0; k < kKeyTile; k += V::kLanes) {
    V::F s = V::load(scores + k);
    if (a.softcap > 0) V::store(scores + k, s = soft_cap(s, a.softcap));
    most = V::max(most, V::keep(s, visible.first - k, visible.last - k, kNegInf));
  }
  return V::reduce_max(most);
}

/// Scores become exp(score - max), zero where they are not visible; rescales what the row has so
/// far to the new maximum.
void soften(const AttendArgs& a, int row, VisibleKeys visible, float max, float* scores) {
  const V::F base = V::set1(max);
  V::F sum = V::zero();
  for (int k = 0; k < kKeyTile; k += V::kLanes) {
    const V::F e = V::keep(V::exp(V::sub(V::load(scores + k), base)), visible.first - k,
                           visible.last - k, 0.0f);
    V::store(scores + k, e);
    sum = V::add(sum, e);
  }
  const float old_max = a.max[row], added = V::reduce_add(sum);
  if (max == old_max) {
    a.sum[row] += added;
    return;
  }
  const V::F keep = V::exp(V::set1(old_max - max));
  a.max[row] = max;
  a.sum[row] = a.sum[row] * V::reduce_max(keep) + added;
  float* out = a.out + int64_t{row} * a.padded_value;
  for (int d = 0; d < a.padded_value; d += V::kLanes)
    V::store(out + d, V::mul(V::load(out + d), keep));
}

/// All query rows, each step for all before the next: a row alone would wait for its own sums.
void soften_rows(const AttendArgs& a, int32_t begin, int32_t keys, float* scores) {
  float max[kMaxAttendRows];
  for (int r = 0; r < a.q_rows; ++r) {
    const VisibleKeys visible(a, r, begin, keys);
    if (!visible.any()) continue;
    const float largest = largest_score(a, visible, scores + r * kKeyTile);
    max[r] = largest > a.max[r] ? largest : a.max[r];
  }
  for (int r = 0; r < a.q_rows; ++r) {
    const VisibleKeys visible(a, r, begin, keys);
    if (visible.any()) {
      soften(a, r, visible, max[r], scores + r * kKeyTile);
    } else {
      for (int k = 0; k < kKeyTile; k += V::kLanes) V::store(scores + r * kKeyTile + k, V::zero());
    }
  }
}

/// The keys of a tile that any of R query rows sees.
template <int R>
struct Visible {
  Visible(const AttendArgs& a, int row, int32_t begin, int32_t keys) : lowest(keys) {
    for (int r = 0; r < R; ++r) {
      const VisibleKeys visible(a, row + r, begin, keys);
      if (!visible.any()) continue;
      lowest = visible.first < lowest ? visible.first : lowest;
      highest = visible.last > highest ? visible.last : highest;
    }
  }
  bool any() const { return lowest < highest; }
  int32_t lowest, highest = 0;
};

/// work(Count<R>, row) for all query rows, R at a time, the largest first.
template <class Do, int... R>
void for_query_rows(int q_rows, const Do& work, Sizes<R...>) {
  int row = 0;
  const auto take = [&](auto size) {
    for (; q_rows - row >= size.kValue; row += size.kValue) work(size, row);
  };
  (take(Count<R>{}), ...);
}

/// Scores of all rows, then all sums of values: of the two tiles only one at a time need be near.
template <KvType T>
void attend_tiled(const AttendArgs& a, int32_t begin, int32_t keys) {
  float* key_tile = a.scratch;
  float* value_tile = key_tile + int64_t{kKeyTile} * a.head_dim;
  float* scores = value_tile + int64_t{kKeyTile} * a.padded_value;
  load_keys<T>(a, begin, keys, key_tile);
  const auto score = [&](auto size, int row) {
    constexpr int kRows = size.kValue;
    const Visible<kRows> visible(a, row, begin, keys);
    if (!visible.any()) return;
    score_rows<kRows>(a.q + int64_t{row} * a.head_dim, a.head_dim, key_tile, visible.highest,
                      scores + row * kKeyTile);
  };
  for_query_rows(a.q_rows, score, V::AttendRows{});
  soften_rows(a, begin, keys, scores);
  load_values<T>(a, begin, keys, value_tile);
  const auto load = [&](int k, int d) { return V::load(value_tile + k * a.padded_value + d); };
  const auto add = [&](auto size, int row) {
    constexpr int kRows = size.kValue;
    const Visible<kRows> visible(a, row, begin, keys);
    if (!visible.any()) return;
    add_values<kRows>(scores + row * kKeyTile, load, a.padded_value, visible.lowest,
                      visible.highest, a.out + int64_t{row} * a.padded_value);
  };
  for_query_rows(a.q_rows, add, V::AttendRows{});
}

/// The only R rows, straight from the cache.
template <KvType T, int R>
void attend_direct(const AttendArgs& a, int32_t begin, int32_t keys) {
  const Visible<R> visible(a, 0, begin, keys);
  if (!visible.any()) return;
  score_rows_direct<T, R>(a, begin, visible.highest, a.scratch);
  soften_rows(a, begin, keys, a.scratch);
  const auto load = [&, ahead = keys_ahead(a)](int k, int d) {
    fetch_soon(Cached<T>::at(a.value_rows[begin + k + ahead], d));
    return Cached<T>::load(a.value_rows[begin + k], d);
  };
  add_values<R>(a.scratch, load, a.padded_value, visible.lowest, visible.highest, a.out);
}

using AttendTile = void (*)(const AttendArgs& a, int32_t begin, int32_t keys);

/// Both ways make the same sums in the same order.
template <KvType T, int... R>
AttendTile attend_tile(const AttendArgs& a, Sizes<R...>) {
  AttendTile found = attend_tiled<T>;
  if (a.head_dim % 16 != 0 || a.value_dim % 16 != 0) return found;
  ((R == a.q_rows ? void(found = attend_direct<T, R>) : void()), ...);
  return found;
}

AttendTile attend_tile(const AttendArgs& a) {
  if (a.type == KvType::kF16) return attend_tile<KvType::kF16>(a, V::DirectRows{});
  if (a.type == KvType::kQ8_0) return attend_tile<KvType::kQ8_0>(a, V::DirectRows{});
  if (a.type == KvType::kBF16) return attend_tile<KvType::kBF16>(a, V::DirectRows{});
  return attend_tile<KvType::kF32>(a, V::DirectRows{});
}

void attend(const AttendArgs& a) {
  int32_t lowest = a.keys, highest = 0;
  for (int r = 0; r < a.q_rows; ++r) {
    a.max[r] = -__builtin_inff();
    a.sum[r] = 0;
    if (a.first[r] >= a.last[r]) continue;
    lowest = a.first[r] < lowest ? a.first[r] : lowest;
    highest = a.last[r] > highest ? a.last[r] : highest;
  }
  std::memset(a.out, 0, static_cast<size_t>(a.q_rows) * static_cast<size_t>(a.padded_value) * 4);
  const AttendTile tile = attend_tile(a);
  for (int32_t begin = 0; begin < highest; begin += kKeyTile) {
    if (begin + kKeyTile <= lowest) continue;
    tile(a, begin, a.keys - begin < kKeyTile ? a.keys - begin : kKeyTile);
  }
}

void merge(float part_max, float part_sum, const float* part, int padded_value, float& max,
           float& sum, float* state) {
  if (!(part_sum > 0)) return;
  if (sum == 0) {  // the first: to the bit what the exponentials below, 0 and 1, would give
    max = part_max;
    sum = part_sum;
    for (int d = 0; d < padded_value; d += V::kLanes)
      V::store(state + d, V::add(V::load(part + d), V::zero()));
    return;
  }
  const float top = part_max > max ? part_max : max;
  const float keep = V::reduce_max(V::exp(V::set1(max - top)));
  const float take = V::reduce_max(V::exp(V::set1(part_max - top)));
  max = top;
  sum = sum * keep + part_sum * take;
  const V::F k = V::set1(keep), t = V::set1(take);
  for (int d = 0; d < padded_value; d += V::kLanes) {
    V::store(state + d, V::fma(V::load(part + d), t, V::mul(V::load(state + d), k)));
  }
}
