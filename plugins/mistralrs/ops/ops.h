#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "ops/cpu/attention.h"
#include "ops/cpu/elementwise.h"
#include "ops/memory.h"
#include "spnl/modelkit/weight.h"

namespace spnl::mistralrs {

/// Activations: [count, width] float32, rows one after the other, in memory of the ops' device.
struct Rows {
  float* data = nullptr;
  int64_t count = 0, width = 0;
};

/// A weight matrix [rows = outputs, cols = inputs] in whatever form an Ops keeps it. Made by
/// Ops::load_matrix.
class Matrix {
 public:
  Matrix(int64_t rows, int64_t cols, uint64_t bytes) : rows_(rows), cols_(cols), bytes_(bytes) {}
  virtual ~Matrix() = default;
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  uint64_t bytes() const {
    return bytes_;
  }  ///< memory of its own; what stays in the mapped file counts nothing

 private:
  int64_t rows_, cols_;
  uint64_t bytes_;
};

/// y = x * weight^T + bias, or += where `accumulate`.
struct LinearOutput {
  const Matrix* weight;
  const float* bias;  ///< [weight->rows()] or null
  Rows y;             ///< width = weight->rows()
  bool accumulate = false;
};

/// Every operation of the forward, once per way to run it. The structs of attention.h are shared by
/// all ways. Arguments are the caller's until the call returns; one caller at a time. Shapes are
/// the model's, checked at load.
class Ops {
 public:
  virtual ~Ops() = default;
  virtual std::string_view name() const = 0;  ///< for messages: "avx2", "reference"

  /// What `weight` shows must outlive the matrix: it may stay in the file. Throws
  /// Error(kUnsupported) naming tensor and type.
  virtual std::unique_ptr<Matrix> load_matrix(const modelkit::Weight& weight) = 0;

  /// y[m] = scale * table[ids[m]], rows decoded where they are. ids are inside the table.
  virtual void embed(const modelkit::Weight& table, std::span<const int32_t> ids, float scale,
                     Rows y) = 0;
  /// y = x / sqrt(mean(x^2) + eps) * (weight + weight_offset); y may be x.
  virtual void rms_norm(Rows x, const float* weight, float eps, float weight_offset, Rows y) = 0;
  virtual void linear(Rows x, std::span<const LinearOutput> outputs) = 0;
  virtual void rope_store(const cpu::Rope& rope, const cpu::KvLayer& layer, Rows keys, Rows values,
                          std::span<const int32_t> positions, std::span<const int64_t> slots) = 0;
  virtual void paged_attention(const cpu::Rope& rope, const cpu::KvLayer& layer,
                               const cpu::AttentionParams& params, Rows queries,
                               std::span<const int32_t> positions,
                               std::span<const cpu::AttentionSequence> sequences, Rows out) = 0;
  /// gate = activation(gate) * up.
  virtual void gated_activation(cpu::Activation activation, Rows gate, Rows up) = 0;
  /// y += scale * x.
  virtual void add_scaled(Rows x, float scale, Rows y) = 0;
};

/// Kernels of ops/cpu, straight on the workspace: no dispatcher, no tensor objects, nothing
/// allocated in a step.
std::unique_ptr<Ops> make_cpu_ops(cpu::Isa isa, int threads);
/// The registered torch operators, whose definitions are plain ATen. Slow and simple: what the
/// kernels are compared with.
std::unique_ptr<Ops> make_reference_ops();
/// `isa`: MISTRALRS_CPU_ISA, "reference" or what choose_isa takes.
std::unique_ptr<Ops> make_ops(std::string_view isa, int threads);

}  // namespace spnl::mistralrs
