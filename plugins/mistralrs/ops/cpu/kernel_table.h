#pragma once
#include <cstdint>

#include "ops/cpu/attention.h"
#include "ops/cpu/elementwise.h"
#include "ops/cpu/isa.h"
#include "ops/cpu/packed_layout.h"

// The functions that are compiled once per instruction set. Everything else in this folder is plain
// code.
namespace spnl::mistralrs::cpu {

/// Some rows of an activation tile times some panels of a matrix.
struct MatmulArgs {
  const uint8_t* panels;  ///< first panel
  int64_t panel_bytes;    ///< from one panel to the next
  int64_t panel_count;
  int64_t units;                 ///< of a panel
  int64_t rows;                  ///< outputs from the first panel on; the last panel may be cut
  const uint8_t* acts;           ///< the tile
  const uint8_t* residual;       ///< its residual plane
  const OutlierGroup* outliers;  ///< groups of the residual plane, ascending
  int64_t outlier_count;
  int width;         ///< rows that the tile was laid out for
  int first, count;  ///< rows of the tile to do
  float* y;          ///< output of row `first` and of the first panel's first lane
  int64_t ldy;
  const float* bias;  ///< of the first panel's first lane, or null
  bool accumulate;
};

constexpr int kKeyTile = 64;
/// Query rows (of one kv head) against one split of a run: online softmax from scratch.
struct AttendArgs {
  const float* q;        ///< [q_rows, head_dim] rotated and scaled
  int q_rows;            ///< up to kMaxAttendRows
  const int32_t* first;  ///< [q_rows] first and one past the last visible key of the split
  const int32_t* last;
  int32_t keys;                    ///< of the split
  const uint8_t* const* key_rows;  ///< [keys + kKeyTile] where each key is; from `keys` on: those
                                   ///< that the thread is likely to read next
  const uint8_t* const* value_rows;
  KvType type;
  int head_dim;                 ///< of queries and keys
  int value_dim, padded_value;  ///< padded_value: a multiple of 16
  float softcap;                ///< 0: none
  float* scratch;               ///< attend_scratch_floats()
  float* max;  ///< [q_rows] results: maximum, sum of exp(score - max), weighted sum of values
  float* sum;
  float* out;  ///< [q_rows, padded_value]
};
constexpr int kMaxAttendRows = 96;  ///< most q_rows: they share converted keys
static constexpr int64_t attend_scratch_floats(int padded_key, int padded_value) {
  return int64_t{kKeyTile} * (padded_key + padded_value + kMaxAttendRows);
}

/// Does args.count rows, any 1..kMaxTokens.
using MatmulKernel = void (*)(const MatmulArgs& args);

struct KernelTable {
  int lanes;
  MatmulKernel matmul[kStorages];  ///< [storage]
  /// Row `row` of a tile of `width` rows.
  void (*quantize)(const float* x, int64_t groups, uint8_t* tile, int width, int row);
  /// The minimums of such a row that is done, of which every 8 groups have some.
  void (*quantize_minimums)(int64_t groups, uint8_t* tile, int width, int row);
  /// What row `row` of `group`, the int8 form of x[kGroup], leaves of x, as row `to_row` of a group
  /// of the residual plane.
  void (*quantize_residual)(const float* x, const uint8_t* group, int width, int row,
                            uint8_t* residual, int to_width, int to_row);

  /// One row; `bias` may be null.
  void (*norm)(const NormParams& params, const float* weight, const float* bias, const float* x,
               int64_t n, float* y);
  void (*activate)(Activation activation, float* gate, const float* up, int64_t n);
  void (*add_scaled)(const float* x, float scale, int64_t n, float* y);
  void (*scale_and_cap)(float scale, float cap, float* x, int64_t n);

  void (*rope_angles)(const double* inv_freq, int64_t pairs, double position, double magnitude,
                      float* cos, float* sin);
  /// out = rotated in * scale; columns before `first` and from first + 2 * pairs on are only
  /// scaled. out may equal in.
  void (*rotate)(RopeKind kind, const float* in, const float* cos, const float* sin, int64_t first,
                 int64_t pairs, int64_t head_dim, float scale, float* out);
  void (*store)(KvType type, const float* in, int64_t n, void* out);
  void (*attend)(const AttendArgs& args);
  /// Adds a partial result (max, sum, out as in AttendArgs, of one row) to a state of the same
  /// form.
  void (*merge)(float part_max, float part_sum, const float* part, int padded_value, float& max,
                float& sum, float* state);
};

const KernelTable& kernels_scalar();
const KernelTable& kernels_avx2();
const KernelTable& kernels_avxvnni();
const KernelTable& kernels_avx512vnni();
const KernelTable& kernels_amx();
const KernelTable& kernels(Isa isa);

}  // namespace spnl::mistralrs::cpu
