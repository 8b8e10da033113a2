#include <algorithm>
#include <memory>
#include <vector>

#include "ops/cpu/packed_matrix.h"
#include "ops/ops.h"
#include "spnl/modelkit/error.h"

namespace spnl::mistralrs {
namespace {

/// The order in which a matrix wants the columns of its input; null: the usual one.
using InputOrder = std::shared_ptr<const std::vector<uint32_t>>;

class CpuMatrix final : public Matrix {
 public:
  CpuMatrix(cpu::PackedMatrix matrix, InputOrder input_order)
      : Matrix(matrix.rows(), matrix.cols(), matrix.bytes()),
        packed(std::move(matrix)),
        order(std::move(input_order)) {}
  const cpu::PackedMatrix packed;
  const InputOrder order;
};

const CpuMatrix& matrix_of(const LinearOutput& output) {
  return *static_cast<const CpuMatrix*>(output.weight);
}

class CpuOps final : public Ops {
 public:
  CpuOps(cpu::Isa isa, int threads) : isa_(isa), team_(threads) {}

  std::string_view name() const override { return cpu::isa_name(isa_); }

  std::unique_ptr<Matrix> load_matrix(const modelkit::Weight& weight) override {
    return std::make_unique<CpuMatrix>(cpu::PackedMatrix::pack(team_, weights_, isa_, weight),
                                       order_of(weight));
  }

  void embed(const modelkit::Weight& table, std::span<const int32_t> ids, float scale,
             Rows y) override {
    team_.run([&](int worker) {
      for (size_t i = worker; i < ids.size(); i += team_.size()) {
        float* row = y.data + static_cast<int64_t>(i) * y.stride;
        table.read_floats(static_cast<uint64_t>(ids[i]), 1, row);
        if (scale != 1.0f)
          for (int64_t j = 0; j < y.width; ++j) row[j] *= scale;
      }
    });
  }

  void norm(const cpu::NormParams& params, Rows x, Rows y) override {
    cpu::norm(team_, isa_, params, x.data, x.stride, x.count, x.width, y.data, y.stride);
  }

  void linear(std::span<const LinearGroup> groups) override {
    size_t outputs = 0;
    for (const LinearGroup& group : groups) outputs += group.outputs.size();
    outputs_.clear();
    outputs_.reserve(outputs);  // groups_ point into it
    groups_.clear();
    for (const LinearGroup& group : groups) add_group(group);
    cpu::matmul(team_, scratch_, groups_);
  }

  void rope_store(const cpu::Rope& rope, const cpu::KvLayer& layer, Rows keys, Rows values,
                  const cpu::RowPositions& positions, std::span<const int64_t> slots) override {
    cpu::rope_store(team_, isa_, rope, angles_, layer, keys.data, keys.stride, values.data,
                    values.stride, positions, slots);
  }

  void paged_attention(const cpu::Rope& rope, const cpu::KvLayer& layer,
                       const cpu::AttentionParams& params, Rows queries,
                       const cpu::RowPositions& positions,
                       std::span<const cpu::AttentionSequence> sequences, Rows out) override {
    cpu::paged_attention(team_, isa_, rope, angles_, layer, params, queries.data, queries.stride,
                         positions, sequences, out.data, out.stride);
  }

  void activate(cpu::Activation activation, Rows gate, Rows up) override {
    cpu::activate(team_, isa_, activation, gate.data, up.data, gate.count, gate.width);
  }

  void add_scaled(Rows x, float scale, Rows y) override {
    cpu::add_scaled(team_, isa_, x.data, scale, x.count, x.width, y.data);
  }

  void scale_and_cap(float scale, float cap, Rows x) override {
    cpu::scale_and_cap(team_, isa_, scale, cap, x.data, x.count * x.width);
  }

  void copy(Rows from, Rows to) override {
    for (int64_t i = 0; i < from.count; ++i)
      std::copy_n(from.data + i * from.stride, from.width, to.data + i * to.stride);
  }

  void route(const cpu::RouterParams& params, Rows logits, std::span<int32_t> experts,
             std::span<float> weights) override {
    cpu::route(team_, params, logits.data, logits.stride, logits.count, experts.data(),
               weights.data());
  }

  void combine(Rows parts, std::span<const int32_t> places, std::span<const float> weights,
               Rows y) override {
    cpu::combine(team_, isa_, parts.data, places.data(), weights.data(),
                 static_cast<int64_t>(places.size()) / y.count, y.count, y.width, y.data);
  }

  void add_gated(Rows x, Rows gate, Rows y) override {
    cpu::add_gated(team_, isa_, x.data, gate.data, x.count, x.width, y.data);
  }

 private:
  /// Equal orders become one, so that what shares an input shares its reordered copy.
  InputOrder order_of(const modelkit::Weight& weight) {
    const std::vector<uint32_t>* order = weight.input_order();
    if (order == nullptr) return nullptr;
    const bool fits = order->size() == weight.columns() &&
                      std::all_of(order->begin(), order->end(),
                                  [&](uint32_t column) { return column < order->size(); });
    if (!fits)
      throw modelkit::Error(modelkit::ErrorCode::kCorrupt,
                            "tensor " + weight.name() + ": the order of its inputs is no order");
    for (const InputOrder& known : orders_)
      if (*known == *order) return known;
    orders_.push_back(std::make_shared<const std::vector<uint32_t>>(*order));
    return orders_.back();
  }

  /// One group for each order of columns that its matrices want.
  void add_group(const LinearGroup& group) {
    const int64_t m = group.rows.empty() ? group.x.count : static_cast<int64_t>(group.rows.size());
    for (size_t i = 0; i < group.outputs.size(); ++i) {
      const InputOrder& order = matrix_of(group.outputs[i]).order;
      const auto same_order = [&](const LinearOutput& o) { return matrix_of(o).order == order; };
      const auto before = group.outputs.first(i);
      if (std::any_of(before.begin(), before.end(), same_order)) continue;
      const size_t first = outputs_.size();
      for (const LinearOutput& o : group.outputs.subspan(i))
        if (same_order(o))
          outputs_.push_back({&matrix_of(o).packed, o.y.data, o.y.stride, o.bias, o.accumulate});
      groups_.push_back({group.x.data, group.x.stride, m, std::span(outputs_).subspan(first),
                         group.rows.empty() ? nullptr : group.rows.data(),
                         order != nullptr ? order->data() : nullptr});
    }
  }

  const cpu::Isa isa_;
  cpu::ThreadTeam team_;
  cpu::WeightMemory weights_;
  cpu::MatmulScratch scratch_;
  cpu::RopeAngles angles_;
  std::vector<InputOrder> orders_;
  std::vector<cpu::MatmulOutput> outputs_;  // reused: no allocation in a step
  std::vector<cpu::MatmulGroup> groups_;
};

}  // namespace

std::unique_ptr<Ops> make_cpu_ops(cpu::Isa isa, int threads) {
  return std::make_unique<CpuOps>(isa, threads);
}

std::unique_ptr<Ops> make_ops(std::string_view isa, int threads) {
  if (isa == "reference") return make_reference_ops(threads);
  return make_cpu_ops(cpu::choose_isa(isa), threads);
}

}  // namespace spnl::mistralrs
