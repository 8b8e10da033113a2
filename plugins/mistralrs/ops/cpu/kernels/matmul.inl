// Loops over tokens are unrolled: their sums must stay in registers, and compilers give up
// before 16.
//
// Matrix products over the layout of packed_layout.h. Included once, inside an anonymous namespace,
// after V. One lane is one output row; the sum over columns runs in file order, group by group,
// whatever the number of tokens, so that a token's result does not depend on its tile.

/// Eight vectors of unsigned quants, four columns each.
template <int Bits>
inline void load_quants(const uint8_t* low, V::B* w) {
  constexpr int kVector = 4 * V::kLanes;
  if constexpr (Bits == 8) {
    for (int j = 0; j < 8; ++j) w[j] = V::load_bytes(low + kVector * j);
  } else if constexpr (Bits >= 4) {
    for (int j = 0; j < 4; ++j) {
      const V::B pair = V::load_bytes(low + kVector * j);
      w[j] = V::low_nibbles(pair);
      w[j + 4] = V::high_nibbles(pair);
    }
  } else {
    for (int p = 0; p < 2; ++p) {
      const V::B fields = V::load_bytes(low + kVector * p);
      w[4 * p + 0] = V::template two_bits<0>(fields);
      w[4 * p + 1] = V::template two_bits<1>(fields);
      w[4 * p + 2] = V::template two_bits<2>(fields);
      w[4 * p + 3] = V::template two_bits<3>(fields);
    }
  }
}

/// w |= the one bit a column of `high` << To.
template <int To>
inline void add_one_bit(const uint8_t* high, V::B* w) {
  const V::B bits = V::load_bytes(high);
  w[0] = V::template add_bit<0, To>(w[0], bits);
  w[1] = V::template add_bit<1, To>(w[1], bits);
  w[2] = V::template add_bit<2, To>(w[2], bits);
  w[3] = V::template add_bit<3, To>(w[3], bits);
  w[4] = V::template add_bit<4, To>(w[4], bits);
  w[5] = V::template add_bit<5, To>(w[5], bits);
  w[6] = V::template add_bit<6, To>(w[6], bits);
  w[7] = V::template add_bit<7, To>(w[7], bits);
}

template <Storage S>
inline void load_weights(const uint8_t* low, V::B* w) {
  constexpr int kBits = quant_bits(S), kVector = 4 * V::kLanes;
  const uint8_t* high = low + low_bytes(S, V::kLanes);
  load_quants<kBits>(low, w);
  if constexpr (kBits == 3) add_one_bit<2>(high, w);
  if constexpr (kBits == 5) add_one_bit<4>(high, w);
  if constexpr (kBits == 6) {
    for (int p = 0; p < 2; ++p) {
      const V::B bits = V::load_bytes(high + kVector * p);
      w[4 * p + 0] = V::template add_two_bits<0>(w[4 * p + 0], bits);
      w[4 * p + 1] = V::template add_two_bits<1>(w[4 * p + 1], bits);
      w[4 * p + 2] = V::template add_two_bits<2>(w[4 * p + 2], bits);
      w[4 * p + 3] = V::template add_two_bits<3>(w[4 * p + 3], bits);
    }
  }
  if constexpr (is_table(S)) {
    const int8_t* values = S == Storage::kFp4 ? kFp4Values : kIq4Values;
    for (int j = 0; j < 8; ++j) w[j] = V::look_up(values, w[j]);
  }
  if constexpr (kBits == 8 || is_table(S)) {
    for (int j = 0; j < 8; ++j) w[j] = V::prepare8(w[j]);
  }
}

/// Where the parts of a group of a tile are for its row `first`.
struct ActGroup {
  ActGroup(const uint8_t* group, int width, int first)
      : q(reinterpret_cast<const int8_t*>(group) + kGroup * first),
        d(reinterpret_cast<const float*>(group + kGroup * width) + first),
        ds(d + width),
        offset128(reinterpret_cast<const int32_t*>(ds + width)),
        minimums(offset128 + 3 * width),
        width_(width) {}
  /// Of 16 columns: half 0 or 1.
  const int32_t* half_offset32(int half) const { return offset128 + (1 + half) * width_; }
  const int8_t* q;
  const float* d;
  const float* ds;
  const int32_t* offset128;
  const int32_t* minimums;

 private:
  int width_;
};

/// -stored_offset(S) times the sums of x that belong to scale `part` of a group.
template <Storage S>
SPNL_INLINE const int32_t* offset_sums(const ActGroup& x, int part) {
  return has_half_scales(S) ? x.half_offset32(part) : x.offset128;
}

/// How many tokens' sums of a group, `Parts` each, are made side by side: as many as registers hold
/// beside the T running sums.
template <int T, int Parts>
constexpr int tokens_together() {
  int n = T;
  while (n > 1 && (T % n != 0 || T + n * Parts > V::kSumRegisters)) --n;
  return n;
}

/// The common scales of a unit, and its groups.
template <Storage S>
struct Unit {
  SPNL_INLINE explicit Unit(const uint8_t* unit) : groups(unit + header_bytes(S, V::kLanes)) {
    if constexpr (is_k(S)) d = V::load_half(unit);
    if constexpr (has_k_min(S)) dmin = V::load_half(unit + 2 * V::kLanes);
  }
  static constexpr int kGroups = unit_columns(S) / kGroup;
  /// By its number in the unit or in the panel.
  const uint8_t* group(int64_t index) const {
    return groups + index % kGroups * group_bytes(S, V::kLanes);
  }
  const uint8_t* groups;
  V::F d = V::zero(), dmin = V::zero();
};

/// The unit of a panel that group `index` of the panel is in.
template <Storage S>
SPNL_INLINE Unit<S> unit_of(const uint8_t* panel, int64_t index) {
  return Unit<S>(panel + index / Unit<S>::kGroups * unit_bytes(S, V::kLanes));
}

/// Scales of a group: two where 16 columns share one.
template <Storage S>
constexpr int kScales = has_half_scales(S) ? 2 : 1;

/// What the integer sums of a group are multiplied with. Minimums are added, but for those of
/// halves: their sums of x come as offset sums, whose sign is turned already.
template <Storage S>
struct Scales {
  SPNL_INLINE Scales(const uint8_t* group, V::F d, V::F dmin) {
    if constexpr (has_half_scales(S) && has_min(S)) {
      scale[0] = V::mul(d, V::load_low_nibbles(group));
      scale[1] = V::mul(d, V::load_low_nibbles(group + V::kLanes));
      const V::F of_sum = V::mul(dmin, V::set1(1.0f / stored_offset(S)));
      min[0] = V::mul(of_sum, V::load_high_nibbles(group));
      min[1] = V::mul(of_sum, V::load_high_nibbles(group + V::kLanes));
    } else if constexpr (has_half_scales(S)) {
      scale[0] = V::mul(d, V::load_s8(group));
      scale[1] = V::mul(d, V::load_s8(group + V::kLanes));
    } else if constexpr (S == Storage::kTableK) {
      scale[0] = V::mul(d, V::load_s8(group));
    } else if constexpr (is_k(S)) {
      scale[0] = V::mul(d, V::load_u8(group));
      min[0] = V::sub(V::zero(), V::mul(dmin, V::load_u8(group + V::kLanes)));
    } else if constexpr (S == Storage::kFp4) {
      scale[0] = V::load_bf16(group);
    } else {
      scale[0] = V::load_half(group);
      if constexpr (has_min(S)) min[0] = V::load_half(group + 2 * V::kLanes);
    }
  }
  V::F scale[kScales<S>], min[kScales<S>];
};

/// acc += the integer sums of a group, one for each scale, of token t. Every way to make the sums
/// ends here, so that all give the same bits. Minimums is false where add_minimums adds those.
template <Storage S, bool Minimums>
SPNL_INLINE void add_scaled_sums(const V::I* sums, const Scales<S>& by, const ActGroup& x, int t,
                                 V::F& acc) {
  const V::F d = V::set1(x.d[t]);
  if constexpr (has_half_scales(S)) {
    V::F sum = V::fma(V::to_float(sums[1]), by.scale[1], V::mul(V::to_float(sums[0]), by.scale[0]));
    if constexpr (has_min(S)) {
      sum = V::fma(by.min[0], V::set1(static_cast<float>(x.half_offset32(0)[t])), sum);
      sum = V::fma(by.min[1], V::set1(static_cast<float>(x.half_offset32(1)[t])), sum);
    }
    acc = V::fma(sum, d, acc);
  } else {
    acc = V::fma(V::mul(V::to_float(sums[0]), by.scale[0]), d, acc);
    if constexpr (has_min(S) && Minimums) acc = V::fma(by.min[0], V::set1(x.ds[t]), acc);
  }
}

/// acc -= the minimums of all groups of a unit times the sums of T tokens' columns: two groups in
/// one multiplication of integers, and one of floats for them all. `block`: the unit's first group.
template <Storage S, int T>
SPNL_INLINE void add_minimums(const Unit<S>& unit, const uint8_t* block, const MatmulArgs& args,
                              V::F* acc) {
  constexpr int kPairs = Unit<S>::kGroups / 2;
  const auto minimums = [&](int j) { return unit.group(j) + V::kLanes; };
  V::I pairs[kPairs];
  SPNL_UNROLL
  for (int j = 0; j < kPairs; ++j)
    pairs[j] = V::load_u8_pairs(minimums(2 * j), minimums(2 * j + 1));
  const auto sums = [&](int j) {
    const int64_t at = int64_t{j} * args.width * kActGroupBytes;
    return ActGroup(block + at, args.width, args.first).minimums;
  };
  const float* scales = reinterpret_cast<const float*>(sums(kPairs));
  SPNL_UNROLL
  for (int t = 0; t < T; ++t) {
    V::I sum = V::multiply_pairs(pairs[0], sums(0)[t]);
    SPNL_UNROLL
    for (int j = 1; j < kPairs; ++j) sum = V::add_pairs(sum, pairs[j], sums(j)[t]);
    acc[t] = V::fnma(V::mul(V::to_float(sum), unit.dmin), V::set1(scales[t]), acc[t]);
  }
}

/// One group of one panel, unpacked.
template <Storage S>
struct GroupWeights {
  SPNL_INLINE GroupWeights(const uint8_t* group, V::F d, V::F dmin) : scales(group, d, dmin) {
    load_weights<S>(group + scale_bytes(S, V::kLanes), w);
  }
  V::B w[8];
  Scales<S> scales;
};

/// acc += one group of one panel times T tokens, with its minimums or without.
template <Storage S, int T, bool Minimums>
SPNL_INLINE void group_product(const GroupWeights<S>& weights, const ActGroup& x, V::F* acc) {
  constexpr int kBits = is_table(S) ? 8 : quant_bits(S), kStored = stored_offset(S);
  constexpr int kParts = kScales<S>, kSteps = 8 / kParts, kTogether = tokens_together<T, kParts>();
  SPNL_UNROLL
  for (int t = 0; t < T; t += kTogether) {
    V::I sums[kParts][kTogether];
    SPNL_UNROLL
    for (int part = 0; part < kParts; ++part) {
      V::template dots<kBits, kSteps, quant_offset(S), kStored, kTogether>(
          weights.w + kSteps * part, x.q + kGroup * t + 4 * kSteps * part,
          offset_sums<S>(x, part) + t, sums[part]);
    }
    SPNL_UNROLL
    for (int i = 0; i < kTogether; ++i) {
      V::I of_token[kParts];
      for (int part = 0; part < kParts; ++part) of_token[part] = sums[part][i];
      add_scaled_sums<S, Minimums>(of_token, weights.scales, x, t + i, acc[t + i]);
    }
  }
}

template <Storage S>
inline V::F load_float_weights(const uint8_t* p) {
  if constexpr (S == Storage::kF32) return V::load(reinterpret_cast<const float*>(p));
  if constexpr (S == Storage::kF16) return V::load_half(p);
  return V::load_bf16(p);
}

/// Even and odd columns have a sum each: one chain of dependent additions would be slower than
/// memory.
template <Storage S, int T>
inline void float_panel_product(const uint8_t* panel, const MatmulArgs& args, V::F* acc) {
  constexpr int kBytes = unit_bytes(S, V::kLanes);
  const float* x = reinterpret_cast<const float*>(args.acts) + args.first;
  const int64_t width = args.width;
  V::F odd[T];
  SPNL_UNROLL
  for (int t = 0; t < T; ++t) odd[t] = V::zero();
  int64_t k = 0;
  for (; k + 2 <= args.units; k += 2) {
    const V::F w0 = load_float_weights<S>(panel), w1 = load_float_weights<S>(panel + kBytes);
    SPNL_UNROLL
    for (int t = 0; t < T; ++t) {
      acc[t] = V::fma(w0, V::set1(x[t]), acc[t]);
      odd[t] = V::fma(w1, V::set1(x[width + t]), odd[t]);
    }
    panel += 2 * kBytes;
    x += 2 * width;
  }
  if (k < args.units) {
    const V::F w = load_float_weights<S>(panel);
    SPNL_UNROLL
    for (int t = 0; t < T; ++t) acc[t] = V::fma(w, V::set1(x[t]), acc[t]);
  }
  SPNL_UNROLL
  for (int t = 0; t < T; ++t) acc[t] = V::add(acc[t], odd[t]);
}

/// Asks for the groups that a product of T tokens reaches some time later: first from memory, then
/// from L2, since few lines can be on their way to L1 at once. One token waits for memory all the
/// time, and the hardware looks ahead well enough; many leave it no room for that.
template <Storage S, int T>
SPNL_INLINE void prefetch_group(const uint8_t* group) {
  constexpr int kToL1 = 2048, kToL2 = 8192, kLine = 64;
  if constexpr (T < 4) return;
  for (int i = 0; i < group_bytes(S, V::kLanes); i += kLine) {
    __builtin_prefetch(group + kToL1 + i, /*write=*/0, /*locality=*/3);
    __builtin_prefetch(group + kToL2 + i, /*write=*/0, /*locality=*/2);
  }
}

/// sums[T] += the residual plane: a few rows of a few groups, row by row.
template <Storage S, int T>
[[gnu::noinline]] void add_outliers_in_memory(const uint8_t* panel, const MatmulArgs& args,
                                              V::F* sums) {
  const uint8_t* block = args.residual;
  for (int64_t i = 0; i < args.outlier_count; ++i) {
    const OutlierGroup& outlier = args.outliers[i];
    const Unit<S> unit = unit_of<S>(panel, outlier.group);
    const GroupWeights<S> weights(unit.group(outlier.group), unit.d, unit.dmin);
    for (int row = 0; row < outlier.count; ++row) {
      const int t = outlier.rows[row] - args.first;
      if (t >= 0 && t < T)
        group_product<S, 1, true>(weights, ActGroup(block, outlier.count, row), sums + t);
    }
    block += int64_t{outlier.count} * kActGroupBytes;
  }
}

/// The same. Sums that are picked by number cannot stay in registers: they go to memory only where
/// there are outliers.
template <Storage S, int T>
SPNL_INLINE void add_outliers(const uint8_t* panel, const MatmulArgs& args, V::F* acc) {
  if (args.outlier_count == 0) return;
  V::F sums[T];
  SPNL_UNROLL
  for (int t = 0; t < T; ++t) sums[t] = acc[t];
  add_outliers_in_memory<S, T>(panel, args, sums);
  SPNL_UNROLL
  for (int t = 0; t < T; ++t) acc[t] = sums[t];
}

template <Storage S, int T>
inline void panel_product(const uint8_t* panel, const MatmulArgs& args, V::F* acc) {
  if constexpr (is_float(S)) {
    float_panel_product<S, T>(panel, args, acc);
  } else {
    const int64_t block_bytes = int64_t{args.width} * kActGroupBytes;
    const uint8_t* block = args.acts;
    for (int64_t u = 0; u < args.units; ++u) {
      const Unit<S> unit(panel + u * unit_bytes(S, V::kLanes));
      if constexpr (has_unit_minimums(S)) add_minimums<S, T>(unit, block, args, acc);
      for (int j = 0; j < Unit<S>::kGroups; ++j, block += block_bytes) {
        const uint8_t* group = unit.group(j);
        prefetch_group<S, T>(group);
        group_product<S, T, !has_unit_minimums(S)>(GroupWeights<S>(group, unit.d, unit.dmin),
                                                   ActGroup(block, args.width, args.first), acc);
      }
    }
    add_outliers<S, T>(panel, args, acc);
  }
}

/// Writes the sums of panel `panel` of `args`.
template <int T>
SPNL_INLINE void write_sums(const MatmulArgs& args, int64_t panel, const V::F* acc) {
  const int64_t row = panel * V::kLanes;
  const int lanes = args.rows - row < V::kLanes ? static_cast<int>(args.rows - row) : V::kLanes;
  const V::F bias = args.bias != nullptr ? V::load_n(args.bias + row, lanes) : V::zero();
  SPNL_UNROLL
  for (int t = 0; t < T; ++t) {
    float* y = args.y + t * args.ldy + row;
    V::F r = args.bias != nullptr ? V::add(acc[t], bias) : acc[t];
    if (args.accumulate) r = V::add(V::load_n(y, lanes), r);
    V::store_n(y, r, lanes);
  }
}

template <Storage S, int T>
void tokens_product(const MatmulArgs& args) {
  for (int64_t p = 0; p < args.panel_count; ++p) {
    V::F acc[T];
    SPNL_UNROLL
    for (int t = 0; t < T; ++t) acc[t] = V::zero();
    panel_product<S, T>(args.panels + p * args.panel_bytes, args, acc);
    write_sums<T>(args, p, acc);
  }
}

/// A kernel for one number of tokens.
struct SizedKernel {
  int tokens;
  MatmulKernel kernel;
};

/// Does args.count tokens, the largest kernels first; leaves in args what is fewer than the
/// smallest does.
template <int N>
void take_tokens(MatmulArgs& args, const SizedKernel (&kernels)[N]) {
  for (const SizedKernel& k : kernels) {
    for (; args.count >= k.tokens; args.count -= k.tokens) {
      k.kernel(args);
      args.first += k.tokens;
      args.y += k.tokens * args.ldy;
    }
  }
}

template <Storage S, int... T>
void tokens_by_size(MatmulArgs args, Sizes<T...>) {
  take_tokens(args, {{T, tokens_product<S, T>}...});
}

template <Storage S>
void matmul_tile(const MatmulArgs& args) {
  if constexpr (is_float(S)) {
    tokens_by_size<S>(args, V::FloatTokenSizes{});
  } else {
    tokens_by_size<S>(args, V::TokenSizes{});
  }
}

/// What belongs to the int8 forms of N groups of a row.
template <int N>
struct alignas(4 * N) QuantizedGroups {
  /// Writes group `g` of them as row `row` of a group of a tile, whose bytes are there already.
  SPNL_INLINE void write(int g, uint8_t* group, int width, int row) const {
    float* scales = reinterpret_cast<float*>(group + kGroup * width) + row;
    int32_t* offsets = reinterpret_cast<int32_t*>(scales + 2 * width);
    scales[0] = d[g];
    scales[width] = ds[g];
    offsets[0] = offset128[g];
    offsets[width] = offset32[0][g];
    offsets[2 * width] = offset32[1][g];
  }
  /// From d and the sums of both halves.
  SPNL_INLINE void fill(const int32_t (&sums)[2][N]) {
    for (int g = 0; g < N; ++g) {
      const int32_t sum = sums[0][g] + sums[1][g];
      ds[g] = d[g] * static_cast<float>(sum);
      offset128[g] = -128 * sum;
      offset32[0][g] = -32 * sums[0][g];
      offset32[1][g] = -32 * sums[1][g];
    }
  }
  float d[N], ds[N];
  int32_t offset128[N], offset32[2][N];
};

/// 127 / scale would overflow.
SPNL_INLINE bool is_empty_group(float amax) { return !(amax > 1e-30f); }

/// The int8 form of x[kGroup], as row `row` of a group of a tile.
void quantize_group(const float* x, uint8_t* group, int width, int row) {
  const float amax = V::reduce_max(largest_of_32<V>(x));
  const bool empty = is_empty_group(amax);
  QuantizedGroups<1> done;
  done.d[0] = empty ? 0.0f : amax / 127.0f;
  int32_t sums[2];
  V::quantize32(x, empty ? 0.0f : 127.0f / amax, reinterpret_cast<int8_t*>(group) + kGroup * row,
                sums);
  done.fill({{sums[0]}, {sums[1]}});
  done.write(0, group, width, row);
}

/// The same of as many groups as there are lanes, a lane each: row `row` of groups of `width` rows
/// that lie one after the other. Same bits.
void quantize_lanes(const float* x, uint8_t* groups, int width, int row) {
  constexpr int kLanes = V::kLanes;
  V::F most[kLanes];
  SPNL_UNROLL
  for (int g = 0; g < kLanes; ++g) most[g] = largest_of_32<V>(x + kGroup * g);
  V::transpose(most);
  SPNL_UNROLL
  for (int i = 1; i < kLanes; ++i) most[0] = V::max(most[0], most[i]);
  QuantizedGroups<kLanes> done;
  alignas(64) float amax[kLanes], inverse[kLanes];
  V::store(amax, most[0]);
  V::store(done.d, V::div(most[0], V::set1(127.0f)));
  V::store(inverse, V::div(V::set1(127.0f), most[0]));
  for (int g = 0; g < kLanes; ++g) {
    if (is_empty_group(amax[g])) done.d[g] = inverse[g] = 0.0f;
  }
  const int64_t group_bytes = int64_t{width} * kActGroupBytes;
  alignas(64) int32_t sums[2][kLanes];
  V::quantize_lanes(x, inverse, reinterpret_cast<int8_t*>(groups) + kGroup * row, group_bytes,
                    sums[0], sums[1]);
  done.fill(sums);
  SPNL_UNROLL
  for (int g = 0; g < kLanes; ++g) done.write(g, groups + g * group_bytes, width, row);
}

[[maybe_unused]] void quantize(const float* x, int64_t groups, uint8_t* tile, int width, int row) {
  const int64_t group_bytes = int64_t{width} * kActGroupBytes;
  int64_t g = 0;
  for (; g + V::kLanes <= groups; g += V::kLanes)
    quantize_lanes(x + g * kGroup, tile + g * group_bytes, width, row);
  for (; g < groups; ++g) quantize_group(x + g * kGroup, tile + g * group_bytes, width, row);
}

/// Part of the minimums of 8 groups, 32 bits, into one of those.
template <class Part>
SPNL_INLINE void write_minimums(uint8_t* group, int width, int row, Part part) {
  static_assert(sizeof(part) == sizeof(int32_t));
  std::memcpy(group + width * (kActGroupBytes - sizeof(part)) + sizeof(part) * row, &part,
              sizeof(part));
}

/// |x| < 2^22 as the nearest integer of two's complement, ties to even: the lowest bits of such a
/// float count ones.
SPNL_INLINE uint32_t to_nearest(float x) {
  return float_to_bits(x + 0x1.8p23f) - float_to_bits(0x1.8p23f);
}

[[maybe_unused]] void quantize_minimums(int64_t groups, uint8_t* tile, int width, int row) {
  constexpr int kGroups = 8, kPairs = kGroups / 2;
  const int64_t group_bytes = int64_t{width} * kActGroupBytes;
  for (int64_t first = 0; first < groups; first += kGroups) {
    uint8_t* unit = tile + first * group_bytes;
    float ds[kGroups], most = 0.0f;
    for (int g = 0; g < kGroups; ++g) ds[g] = *ActGroup(unit + g * group_bytes, width, row).ds;
    for (const float x : ds) most = __builtin_fabsf(x) > most ? __builtin_fabsf(x) : most;
    const float inverse = is_empty_group(most) ? 0.0f : 32767.0f / most;
    for (int j = 0; j < kPairs; ++j) {
      const uint32_t low = to_nearest(ds[2 * j] * inverse) & 0xffffu;
      const uint32_t high = to_nearest(ds[2 * j + 1] * inverse) << 16;
      write_minimums(unit + j * group_bytes, width, row, low | high);
    }
    write_minimums(unit + kPairs * group_bytes, width, row, most / 32767.0f);
  }
}

[[maybe_unused]] void quantize_residual(const float* x, const uint8_t* group, int width, int row,
                                        uint8_t* residual, int to_width, int to_row) {
  const ActGroup done(group, width, row);
  // Exact in double: the second plane of a row is the same on all instruction sets.
  const double d = *done.d;
  float rest[kGroup];
  for (int i = 0; i < kGroup; ++i) rest[i] = static_cast<float>(x[i] - d * done.q[i]);
  quantize_group(rest, residual, to_width, to_row);
}
