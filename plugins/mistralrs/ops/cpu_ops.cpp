#include <algorithm>
#include <vector>

#include "ops/cpu/packed_matrix.h"
#include "ops/ops.h"
#include "spnl/modelkit/block_formats.h"
#include "spnl/modelkit/error.h"

namespace spnl::mistralrs {
namespace {

class CpuMatrix final : public Matrix {
 public:
  explicit CpuMatrix(cpu::PackedMatrix matrix)
      : Matrix(matrix.rows(), matrix.cols(), matrix.bytes()), packed(std::move(matrix)) {}
  const cpu::PackedMatrix packed;
};

class CpuOps final : public Ops {
 public:
  CpuOps(cpu::Isa isa, int threads) : isa_(isa), team_(threads) {}

  std::string_view name() const override { return cpu::isa_name(isa_); }

  std::unique_ptr<Matrix> load_matrix(const modelkit::Weight& weight) override {
    const auto rows = static_cast<int64_t>(weight.rows()),
               cols = static_cast<int64_t>(weight.columns());
    if (cpu::PackedMatrix::can_pack(weight.type()) && weight.data() != nullptr)
      return std::make_unique<CpuMatrix>(
          cpu::PackedMatrix::pack(team_, isa_, weight.type(), weight.data(), rows, cols));
    // A type without a kernel is kept as float16, whose rounding is far below that of any such
    // type.
    const std::vector<uint16_t> halves = to_half(weight);
    return std::make_unique<CpuMatrix>(cpu::PackedMatrix::pack(
        team_, isa_, modelkit::TensorType::kF16, halves.data(), rows, cols));
  }

  void embed(const modelkit::Weight& table, std::span<const int32_t> ids, float scale,
             Rows y) override {
    team_.run([&](int worker) {
      for (size_t i = worker; i < ids.size(); i += team_.size()) {
        float* row = y.data + static_cast<int64_t>(i) * y.width;
        table.read_floats(static_cast<uint64_t>(ids[i]), 1, row);
        if (scale != 1.0f)
          for (int64_t j = 0; j < y.width; ++j) row[j] *= scale;
      }
    });
  }

  void rms_norm(Rows x, const float* weight, float eps, float weight_offset, Rows y) override {
    cpu::rms_norm(team_, isa_, x.data, weight, eps, weight_offset, x.count, x.width, y.data);
  }

  void linear(Rows x, std::span<const LinearOutput> outputs) override {
    outputs_.clear();
    for (const LinearOutput& o : outputs)
      outputs_.push_back({&static_cast<const CpuMatrix*>(o.weight)->packed, o.y.data, o.y.width,
                          o.bias, o.accumulate});
    cpu::matmul(team_, scratch_, x.data, x.width, x.count, outputs_);
  }

  void rope_store(const cpu::Rope& rope, const cpu::KvLayer& layer, Rows keys, Rows values,
                  std::span<const int32_t> positions, std::span<const int64_t> slots) override {
    cpu::rope_store(team_, isa_, rope, layer, keys.data, keys.width, values.data, values.width,
                    positions, slots);
  }

  void paged_attention(const cpu::Rope& rope, const cpu::KvLayer& layer,
                       const cpu::AttentionParams& params, Rows queries,
                       std::span<const int32_t> positions,
                       std::span<const cpu::AttentionSequence> sequences, Rows out) override {
    cpu::paged_attention(team_, isa_, rope, layer, params, queries.data, queries.width, positions,
                         sequences, out.data, out.width);
  }

  void gated_activation(cpu::Activation activation, Rows gate, Rows up) override {
    cpu::gated_activation(team_, isa_, activation, gate.data, up.data, gate.count, gate.width);
  }

  void add_scaled(Rows x, float scale, Rows y) override {
    cpu::add_scaled(team_, isa_, x.data, scale, x.count, x.width, y.data);
  }

 private:
  std::vector<uint16_t> to_half(const modelkit::Weight& weight) {
    const auto info = modelkit::tensor_type_info(weight.type());
    if (!info || !info->can_dequantize)
      throw modelkit::Error(
          modelkit::ErrorCode::kUnsupported,
          "tensor " + weight.name() + " has type " +
              (info ? std::string(info->name)
                    : std::to_string(static_cast<uint32_t>(weight.type()))) +
              ", which this build cannot read; use another quantisation of the model");
    const uint64_t cols = weight.columns();
    std::vector<uint16_t> halves(weight.elements());
    team_.run([&](int worker) {
      std::vector<float> row(cols);
      for (uint64_t r = worker; r < weight.rows(); r += team_.size()) {
        weight.read_floats(r, 1, row.data());
        std::transform(row.begin(), row.end(), halves.begin() + static_cast<int64_t>(r * cols),
                       modelkit::float_to_half);
      }
    });
    return halves;
  }

  const cpu::Isa isa_;
  cpu::ThreadTeam team_;
  cpu::MatmulScratch scratch_;
  std::vector<cpu::MatmulOutput> outputs_;  // reused: no allocation in a step
};

}  // namespace

std::unique_ptr<Ops> make_cpu_ops(cpu::Isa isa, int threads) {
  return std::make_unique<CpuOps>(isa, threads);
}

std::unique_ptr<Ops> make_ops(std::string_view isa, int threads) {
  if (isa == "reference") return make_reference_ops();
  return make_cpu_ops(cpu::choose_isa(isa), threads);
}

}  // namespace spnl::mistralrs
