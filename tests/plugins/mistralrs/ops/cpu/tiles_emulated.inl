// The tile registers of AMX in plain C++, as Intel's SDM defines LDTILECFG, TILEZERO, TILELOADD,
// TDPBSSD, TILESTORED and TILERELEASE. What the CPU would answer with a fault throws. Included
// once, inside an anonymous namespace, in the place of tiles_amx.inl.

struct Tiles {
  explicit Tiles(const TileConfig& config) {
    require(config.palette == 1, "palette");
    require(config.start_row == 0, "start row");
    for (uint8_t byte : config.reserved) require(byte == 0, "reserved byte");
    for (int i = 0; i < 16; ++i) {
      const int rows = config.rows[i], row_bytes = config.row_bytes[i];
      require(rows <= kMaxRows && row_bytes <= kMaxRowBytes, "size");
      require((rows == 0) == (row_bytes == 0), "half a size");
      require(i < kTiles || rows == 0, "tile number");
      if (i < kTiles) tiles_[i] = {rows, row_bytes, false, {}};
    }
  }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  template <int Number>
  void zero() {
    Tile& tile = configured<Number>();
    tile.written = true;
    std::memset(tile.bytes, 0, sizeof tile.bytes);
  }
  template <int Number>
  void load(const void* p, int64_t stride) {
    zero<Number>();
    Tile& tile = configured<Number>();
    for (int row = 0; row < tile.rows; ++row) {
      std::memcpy(tile.bytes[row], static_cast<const char*>(p) + row * stride,
                  static_cast<size_t>(tile.row_bytes));
    }
  }
  template <int Number>
  void store(void* p, int64_t stride) {
    const Tile& tile = written<Number>();
    for (int row = 0; row < tile.rows; ++row) {
      std::memcpy(static_cast<char*>(p) + row * stride, tile.bytes[row],
                  static_cast<size_t>(tile.row_bytes));
    }
  }
  template <int C, int A, int B>
  void add_products() {
    static_assert(C != A && C != B && A != B);
    Tile& c = written<C>();
    const Tile &a = written<A>(), &b = written<B>();
    require(c.row_bytes % 4 == 0 && a.row_bytes % 4 == 0, "elements of 4 bytes");
    require(c.rows == a.rows && c.row_bytes == b.row_bytes && a.row_bytes / 4 == b.rows, "shapes");
    for (int m = 0; m < c.rows; ++m) {
      for (int n = 0; n < c.row_bytes / 4; ++n) {
        int32_t sum;
        std::memcpy(&sum, c.bytes[m] + 4 * n, 4);
        for (int k = 0; k < a.row_bytes; ++k) sum += a.bytes[m][k] * b.bytes[k / 4][4 * n + k % 4];
        std::memcpy(c.bytes[m] + 4 * n, &sum, 4);
      }
    }
  }

 private:
  static constexpr int kTiles = 8, kMaxRows = 16, kMaxRowBytes = 64;
  struct Tile {
    int rows = 0, row_bytes = 0;
    bool written = false;
    int8_t bytes[kMaxRows][kMaxRowBytes] = {};
  };

  static void require(bool holds, const char* what) {
    if (!holds) throw std::logic_error(std::string("tiles: ") + what);
  }
  template <int Number>
  Tile& configured() {
    static_assert(Number >= 0 && Number < kTiles);
    require(tiles_[Number].rows > 0, "not configured");
    return tiles_[Number];
  }
  /// Reading one that nobody wrote is no fault, but surely a mistake.
  template <int Number>
  Tile& written() {
    require(configured<Number>().written, "read before it was written");
    return tiles_[Number];
  }

  Tile tiles_[kTiles];
};
