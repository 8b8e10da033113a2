#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "ops/cpu/isa.h"
#include "ops/cpu/packed_layout.h"
#include "ops/cpu/thread_team.h"
#include "ops/cpu/weight_memory.h"
#include "spnl/modelkit/weight.h"

namespace spnl::mistralrs::cpu {

/// A weight matrix [rows = outputs, cols = inputs], repacked once at load into the panel layout
/// that the kernels of one instruction set read. Owns its memory, maybe as part of a larger piece;
/// immutable, so shared freely between threads.
class PackedMatrix {
 public:
  /// `data`: the rows one after the other as the file has them, tensor_bytes(type, rows * cols)
  /// bytes; not kept. Throws modelkit::Error(kUnsupported) when `type` has no kernel (see
  /// can_pack).
  static PackedMatrix pack(ThreadTeam& team, WeightMemory& memory, Isa isa,
                           modelkit::TensorType type, const void* data, int64_t rows, int64_t cols);
  /// In memory of its own.
  static PackedMatrix pack(ThreadTeam& team, Isa isa, modelkit::TensorType type, const void* data,
                           int64_t rows, int64_t cols);
  static bool can_pack(modelkit::TensorType type);
  /// The same from wherever the weight's rows come from, reading a few at a time. A type without a
  /// kernel stays in its blocks, which are decoded to float32 panel by panel in each product: where
  /// the file has them, so that `weight` must outlive the matrix (bytes() is then 0), or in a copy.
  /// Throws what reading throws.
  static PackedMatrix pack(ThreadTeam& team, WeightMemory& memory, Isa isa,
                           const modelkit::Weight& weight);

  PackedMatrix();
  ~PackedMatrix();
  PackedMatrix(PackedMatrix&&) noexcept;
  PackedMatrix& operator=(PackedMatrix&&) noexcept;

  int64_t rows() const noexcept;
  int64_t cols() const noexcept;
  modelkit::TensorType type() const noexcept;
  uint64_t bytes() const noexcept;  ///< resident memory

  struct Impl;
  const Impl& impl() const noexcept { return *impl_; }

 private:
  static PackedMatrix with_shape(Isa isa, modelkit::TensorType type, Storage storage, int64_t rows,
                                 int64_t cols);
  template <class RowsOf>
  static PackedMatrix pack_rows(ThreadTeam& team, WeightMemory& memory, Isa isa,
                                modelkit::TensorType type, int64_t rows, int64_t cols,
                                const RowsOf& rows_of);
  static PackedMatrix keep_blocks(ThreadTeam& team, WeightMemory& memory, Isa isa,
                                  const modelkit::Weight& weight);

  std::unique_ptr<Impl> impl_;
};

/// Scratch memory of matmul (quantised activations); grows to the largest use and is then reused.
/// One caller at a time.
class MatmulScratch {
 public:
  MatmulScratch();
  ~MatmulScratch();
  struct Impl;
  Impl& impl() noexcept { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// One product of a matmul call: y[m, ldy] = x * weight^T + bias, or += when `accumulate`.
struct MatmulOutput {
  const PackedMatrix* weight;  ///< all outputs of one call have the same cols and isa
  float* y;                    ///< [m, ldy], ldy >= weight->rows()
  int64_t ldy;
  const float* bias = nullptr;  ///< [rows] or null
  bool accumulate = false;
};

/// Products of one input x [m, ldx >= cols] with several matrices: x is quantised once (to int8 in
/// blocks, for quantised weights; float weights use float activations). m = 1 is a matrix-vector
/// product bound by memory, large m a register-blocked matrix-matrix product. Sums over cols are
/// made in an order that does not depend on m or on the number of threads: a row's result is bit
/// for bit the same whatever it is batched with.
///
/// Outliers: in each row of activations a few channels are far larger than the rest. Their groups
/// of 32 have coarse int8 steps, and these make nearly all of the error of quantising. So a group
/// whose scale is more than kOutlierRatio times the mean of its row's is held in two int8 planes: x
/// = d * q and, with a scale of its own, the residual x - d * q (about d / 254 a step). The kernels
/// go over all groups, then once more over the listed ones with the residual plane, for just the
/// rows that are in it: batching changes no result. On SmolLM2-135M (Q4_1) the mean KL divergence
/// of the next token from float32 falls from 0.005 to 0.0016 (AVX-512), from 0.009 to 0.0012
/// (AVX2), for 3% more groups a row. The idea that outliers deserve more bits than the rest:
/// LLM.int8(), arXiv 2208.07339. Rows that are all zero or not finite have no outliers.
void matmul(ThreadTeam& team, MatmulScratch& scratch, const float* x, int64_t ldx, int64_t m,
            std::span<const MatmulOutput> outputs);

/// One input of several and what it is multiplied with: an expert's tokens, a head's dimensions.
struct MatmulGroup {
  const float* x;
  int64_t ldx, m;
  std::span<const MatmulOutput> outputs;  ///< none, or m = 0: nothing to do
  const int32_t* rows = nullptr;          ///< [m] the rows of x; null: the first m
  const uint32_t* columns = nullptr;      ///< [cols] column c is x's columns[c]; null: c
};
/// The products of all groups at once, shared out to the threads together: each matrix is read
/// once. Outputs of different groups must not overlap.
void matmul(ThreadTeam& team, MatmulScratch& scratch, std::span<const MatmulGroup> groups);

}  // namespace spnl::mistralrs::cpu
