#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "ops/cpu/attention.h"
#include "ops/cpu/elementwise.h"
#include "ops/cpu/experts.h"
#include "ops/memory.h"
#include "spnl/modelkit/weight.h"

namespace spnl::mistralrs {

/// Activations: [count, width] float32 in memory of the ops' device, a row every `stride` elements.
struct Rows {
  Rows() = default;
  Rows(float* first, int64_t rows, int64_t columns)
      : data(first), count(rows), width(columns), stride(columns) {}

  float* data = nullptr;
  int64_t count = 0, width = 0, stride = 0;

  /// Columns [first, first + columns) of each row.
  Rows columns(int64_t first, int64_t columns) const {
    Rows part(data + first, count, columns);
    part.stride = stride;
    return part;
  }
  /// Rows of several heads one after the other, seen as one row a head. Only without gaps.
  Rows by_head(int64_t head_dim) const { return {data, count * (width / head_dim), head_dim}; }
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

/// One input and its outputs. Each y has as many rows as are used of x.
struct LinearGroup {
  Rows x;
  std::span<const LinearOutput> outputs;
  std::span<const int32_t> rows = {};  ///< those used of x; empty: all
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
  /// y = norm of each row of x; y may be x.
  virtual void norm(const cpu::NormParams& params, Rows x, Rows y) = 0;

  /// All products of the groups at once; each matrix is read once. No output is another's input.
  virtual void linear(std::span<const LinearGroup> groups) = 0;
  void linear(Rows x, std::span<const LinearOutput> outputs) {
    const LinearGroup group[] = {{x, outputs}};
    linear(group);
  }

  virtual void rope_store(const cpu::Rope& rope, const cpu::KvLayer& layer, Rows keys, Rows values,
                          const cpu::RowPositions& positions, std::span<const int64_t> slots) = 0;
  virtual void paged_attention(const cpu::Rope& rope, const cpu::KvLayer& layer,
                               const cpu::AttentionParams& params, Rows queries,
                               const cpu::RowPositions& positions,
                               std::span<const cpu::AttentionSequence> sequences, Rows out) = 0;

  // From here on rows have no gaps, but for copy().

  /// gate = activation(gate) * up; without up.data: activation(gate).
  virtual void activate(cpu::Activation activation, Rows gate, Rows up) = 0;
  /// y += scale * x.
  virtual void add_scaled(Rows x, float scale, Rows y) = 0;
  /// x = scale * x, and then cap * tanh(x / cap) where cap > 0.
  virtual void scale_and_cap(float scale, float cap, Rows x) = 0;
  virtual void copy(Rows from, Rows to) = 0;

  /// experts, weights [logits.count, used]; see ops/cpu/experts.h.
  virtual void route(const cpu::RouterParams& params, Rows logits, std::span<int32_t> experts,
                     std::span<float> weights) = 0;
  /// y[i] = sum over j of weights[i, j] * parts[places[i, j]], j in order.
  virtual void combine(Rows parts, std::span<const int32_t> places, std::span<const float> weights,
                       Rows y) = 0;
  /// y[i] += sigmoid(gate[i]) * x[i]; gate: one column.
  virtual void add_gated(Rows x, Rows gate, Rows y) = 0;
};

/// Kernels of ops/cpu, straight on the workspace: no dispatcher, no tensor objects, nothing
/// allocated in a step.
std::unique_ptr<Ops> make_cpu_ops(cpu::Isa isa, int threads);
/// The registered torch operators, whose definitions are plain ATen. Slow and simple: what the
/// kernels are compared with. `threads` 0: as many as libtorch likes; they start here, and spin
/// before they sleep, so nothing else should ask libtorch for threads.
std::unique_ptr<Ops> make_reference_ops(int threads = 0);
/// `isa`: MISTRALRS_CPU_ISA, "reference" or what choose_isa takes.
std::unique_ptr<Ops> make_ops(std::string_view isa, int threads);

}  // namespace spnl::mistralrs
