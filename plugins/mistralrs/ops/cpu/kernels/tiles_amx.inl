// The tile registers of AMX. Included once, inside an anonymous namespace.
//
// Assembly, since the intrinsics of GCC 12 take the number of a tile only as a literal and do not
// tell the compiler which memory they read.

/// The calling thread's tiles, zero at first. Given back at the end: the system need not save
/// tiles that nobody uses, and other libraries of the process may set them up for themselves.
struct Tiles {
  explicit Tiles(const TileConfig& config) {
    __asm__ volatile("ldtilecfg %0" : : "m"(config) : "memory");
  }
  ~Tiles() { __asm__ volatile("tilerelease"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  template <int Tile>
  void zero() {
    __asm__ volatile("tilezero %%tmm%c0" : : "i"(Tile));
  }
  /// Its rows from p on, `stride` bytes apart.
  template <int Tile>
  void load(const void* p, int64_t stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(p), "r"(stride), "i"(Tile) : "memory");
  }
  template <int Tile>
  void store(void* p, int64_t stride) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)"
                     :
                     : "r"(p), "r"(stride), "i"(Tile)
                     : "memory");
  }
  /// C[m][n] += sum of A[m][4k+b] * B[k][4n+b]: int32 += int8 * int8.
  template <int C, int A, int B>
  void add_products() {
    __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }
};
