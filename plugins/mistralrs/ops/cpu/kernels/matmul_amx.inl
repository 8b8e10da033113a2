// Matrix products of quantised weights with the tile registers of AMX. Included once, inside an
// anonymous namespace, after V (of 16 lanes), Tiles and matmul.inl.
//
// The int8 rows of a group of activations are the left operand of TDPBSSD as they lie in memory.
// The right one is a group of weights as bytes, offset subtracted: a row of four columns for each
// of 16 lanes is just the vector that load_weights makes. The integer sums are those of VNNI, and
// what follows is shared with it, so the two give the same bits.

/// From here on tiles pay: the fixed cost of a group (weights through memory, sums through memory)
/// is that of about 6 tokens by VNNI.
constexpr int kLeastTileTokens = 8;
using TileTokens = Sizes<16, 15, 14, 13, 12, 10, kLeastTileTokens>;

/// Tile registers: sums, then two pairs of operands, so that one pair is loaded while the other
/// multiplies.
constexpr int kSumTiles = 4, kActTiles = 4, kWeightTiles = 6;

/// Groups whose tiles are multiplied one after the other before their sums are scaled.
template <Storage S>
constexpr int kChunk = kSumTiles / kScales<S>;

template <Storage S, int T>
TileConfig tile_config() {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    const bool act = i >= kActTiles && i < kWeightTiles, weight = i >= kWeightTiles;
    config.row_bytes[i] = static_cast<uint16_t>(act ? kGroup / kScales<S> : 4 * V::kLanes);
    config.rows[i] = static_cast<uint8_t>(weight ? kGroup / 4 / kScales<S> : T);
  }
  return config;
}

/// The operands of a chunk that are made here, and its sums.
template <Storage S, int T>
struct alignas(64) Chunk {
  int8_t weights[kChunk<S>][kGroup / 4][4 * V::kLanes];
  int32_t sums[kChunk<S>][kScales<S>][T][V::kLanes];
};

/// Signed bytes of a group's weights.
template <Storage S>
SPNL_INLINE void expand_weights(const uint8_t* group, int8_t (*out)[4 * V::kLanes]) {
  V::B w[8];
  load_weights<S>(group + scale_bytes(S, V::kLanes), w);
  const V::B offset = _mm512_set1_epi8(static_cast<char>(quant_offset(S)));
  for (int j = 0; j < 8; ++j) _mm512_store_si512(out[j], _mm512_sub_epi8(w[j], offset));
}

/// The sums of one group and one of its scales. Number: which of the chunk; q: the activations of
/// the chunk's first group, block_bytes from each to the next.
template <Storage S, int T, int Number>
SPNL_INLINE void multiply_tiles(Tiles& tiles, const uint8_t* q, int64_t block_bytes,
                                Chunk<S, T>& chunk) {
  constexpr int kOfChunk = Number / kScales<S>, kPart = Number % kScales<S>;
  constexpr int kRows = kGroup / 4 / kScales<S>;
  constexpr int kAct = kActTiles + Number % 2, kWeight = kWeightTiles + Number % 2;
  tiles.template zero<Number>();
  tiles.template load<kAct>(q + kOfChunk * block_bytes + 4 * kRows * kPart, kGroup);
  tiles.template load<kWeight>(chunk.weights[kOfChunk][kRows * kPart], 4 * V::kLanes);
  tiles.template add_products<Number, kAct, kWeight>();
  tiles.template store<Number>(chunk.sums[kOfChunk][kPart], 4 * V::kLanes);
}

template <Storage S, int T, int... Number>
SPNL_INLINE void multiply_chunk(Tiles& tiles, const uint8_t* q, int64_t block_bytes, int64_t count,
                                Chunk<S, T>& chunk, Sizes<Number...>) {
  ((Number / kScales<S> < count ? multiply_tiles<S, T, Number>(tiles, q, block_bytes, chunk)
                                : void()),
   ...);
}

/// acc += groups begin.. of a panel, up to kChunk of them.
template <Storage S, int T>
SPNL_INLINE void chunk_product(Tiles& tiles, Chunk<S, T>& chunk, const uint8_t* panel,
                               const MatmulArgs& args, int64_t begin, V::F* acc) {
  const int64_t left = args.units * Unit<S>::kGroups - begin;
  const int64_t count = left < kChunk<S> ? left : kChunk<S>;
  const int64_t block_bytes = int64_t{args.width} * kActGroupBytes;
  const uint8_t* blocks = args.acts + begin * block_bytes;
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* group = unit_of<S>(panel, begin + i).group(begin + i);
    prefetch_group<S, T>(group);
    expand_weights<S>(group, chunk.weights[i]);
  }
  multiply_chunk<S, T>(tiles, blocks + kGroup * args.first, block_bytes, count, chunk,
                       Sizes<0, 1, 2, 3>{});
  if constexpr (has_unit_minimums(S)) {
    if (begin % Unit<S>::kGroups == 0)
      add_minimums<S, T>(unit_of<S>(panel, begin), blocks, args, acc);
  }
  for (int64_t i = 0; i < count; ++i) {
    const Unit<S> unit = unit_of<S>(panel, begin + i);
    const Scales<S> scales(unit.group(begin + i), unit.d, unit.dmin);
    const ActGroup x(blocks + i * block_bytes, args.width, args.first);
    SPNL_UNROLL
    for (int t = 0; t < T; ++t) {
      V::I sums[kScales<S>];
      for (int part = 0; part < kScales<S>; ++part)
        sums[part] = _mm512_load_si512(chunk.sums[i][part][t]);
      add_scaled_sums<S, !has_unit_minimums(S)>(sums, scales, x, t, acc[t]);
    }
  }
}

template <Storage S, int T>
void tiles_product(const MatmulArgs& args) {
  static_assert(V::kLanes == 16 && kSumTiles == 4);
  Tiles tiles(tile_config<S, T>());
  Chunk<S, T> chunk;
  for (int64_t p = 0; p < args.panel_count; ++p) {
    V::F acc[T];
    SPNL_UNROLL
    for (int t = 0; t < T; ++t) acc[t] = V::zero();
    const uint8_t* panel = args.panels + p * args.panel_bytes;
    for (int64_t begin = 0; begin < args.units * Unit<S>::kGroups; begin += kChunk<S>)
      chunk_product<S, T>(tiles, chunk, panel, args, begin, acc);
    add_outliers<S, T>(panel, args, acc);
    write_sums<T>(args, p, acc);
  }
}

template <Storage S, int... T>
void tiles_by_size(MatmulArgs& args, Sizes<T...>) {
  take_tokens(args, {{T, tiles_product<S, T>}...});
}

/// By tiles as far as they pay, the rest by VNNI.
template <Storage S>
void tiles_matmul(const MatmulArgs& all) {
  MatmulArgs args = all;
  tiles_by_size<S>(args, TileTokens{});
  if (args.count > 0) kernels_avx512vnni().matmul[static_cast<int>(S)](args);
}
