#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "ops/cpu/isa.h"
#include "ops/cpu/thread_team.h"
#include "spnl/modelkit/tensor_type.h"

namespace spnl::mistralrs::cpu {

/// A weight matrix [rows = outputs, cols = inputs], repacked once at load into the panel layout
/// that the kernels of one instruction set read. Owns its memory; immutable, so shared freely
/// between threads.
class PackedMatrix {
 public:
  /// `data`: the rows one after the other as the file has them, tensor_bytes(type, rows * cols)
  /// bytes; not kept. Throws modelkit::Error(kUnsupported) when `type` has no kernel (see
  /// can_pack).
  static PackedMatrix pack(ThreadTeam& team, Isa isa, modelkit::TensorType type, const void* data,
                           int64_t rows, int64_t cols);
  static bool can_pack(modelkit::TensorType type);

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
void matmul(ThreadTeam& team, MatmulScratch& scratch, const float* x, int64_t ldx, int64_t m,
            std::span<const MatmulOutput> outputs);

}  // namespace spnl::mistralrs::cpu
