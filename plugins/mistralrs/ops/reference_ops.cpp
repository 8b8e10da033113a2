#include <vector>

#include "ops/ops.h"
#include "ops/reference.h"
#include "ops/schema.h"
#include "spnl/modelkit/error.h"

namespace spnl::mistralrs {
namespace {

/// The weight's bytes where the file has them.
class ReferenceMatrix final : public Matrix {
 public:
  explicit ReferenceMatrix(const modelkit::Weight& source)
      : Matrix(static_cast<int64_t>(source.rows()), static_cast<int64_t>(source.columns()), 0),
        weight(source) {}
  const modelkit::Weight weight;
};

template <class Signature>
c10::TypedOperatorHandle<Signature> find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

template <class T>
at::Tensor view(const T* data, at::IntArrayRef sizes, at::ScalarType type) {
  return at::from_blob(const_cast<T*>(data), sizes, at::TensorOptions().dtype(type));
}
at::Tensor view(Rows rows) { return view(rows.data, {rows.count, rows.width}, at::kFloat); }
at::Tensor view(Rows rows, int64_t head_dim) {
  return view(rows.data, {rows.count, rows.width / head_dim, head_dim}, at::kFloat);
}
at::Tensor view(std::span<const int32_t> x) {
  return view(x.data(), {static_cast<int64_t>(x.size())}, at::kInt);
}
at::Tensor view(const std::vector<int64_t>& x, int64_t width) {
  return view(x.data(), {static_cast<int64_t>(x.size()) / width, width}, at::kLong);
}
at::Tensor view(const std::vector<double>& x) {
  return view(x.data(), {static_cast<int64_t>(x.size())}, at::kDouble);
}

at::Tensor bytes_of(const modelkit::Weight& w) {
  const auto rows = static_cast<int64_t>(w.rows()), bytes = static_cast<int64_t>(w.row_bytes());
  if (w.data() != nullptr) return view(w.data(), {rows, bytes}, at::kByte);
  at::Tensor made = at::empty({rows, bytes}, at::kByte);
  w.read_blocks(0, w.rows(), static_cast<std::byte*>(made.data_ptr()));
  return made;
}

at::Tensor cache_of(const cpu::KvLayer& layer, void* data, int64_t blocks) {
  const at::ScalarType type = layer.type == cpu::KvType::kF32   ? at::kFloat
                              : layer.type == cpu::KvType::kF16 ? at::kHalf
                                                                : at::kBFloat16;
  return at::from_blob(data, {blocks, layer.kv_heads, layer.block_size, layer.head_dim},
                       at::TensorOptions().dtype(type));
}

class ReferenceOps final : public Ops {
 public:
  std::string_view name() const override { return "reference"; }

  std::unique_ptr<Matrix> load_matrix(const modelkit::Weight& weight) override {
    const auto info = modelkit::tensor_type_info(weight.type());
    if (!info || !info->can_dequantize)
      throw modelkit::Error(
          modelkit::ErrorCode::kUnsupported,
          "tensor " + weight.name() + " has type " +
              (info ? std::string(info->name)
                    : std::to_string(static_cast<uint32_t>(weight.type()))) +
              ", which this build cannot read; use another quantisation of the model");
    return std::make_unique<ReferenceMatrix>(weight);
  }

  void embed(const modelkit::Weight& table, std::span<const int32_t> ids, float scale,
             Rows y) override {
    view(y).copy_(embedding_.call(bytes_of(table), static_cast<int64_t>(table.type()), y.width,
                                  view(ids), scale));
  }

  void rms_norm(Rows x, const float* weight, float eps, float weight_offset, Rows y) override {
    view(y).copy_(rms_norm_.call(view(x), view(weight, {x.width}, at::kFloat), eps, weight_offset));
  }

  void linear(Rows x, std::span<const LinearOutput> outputs) override {
    for (const LinearOutput& o : outputs) {
      const modelkit::Weight& weight = static_cast<const ReferenceMatrix*>(o.weight)->weight;
      std::optional<at::Tensor> bias;
      if (o.bias != nullptr) bias = view(o.bias, {o.weight->rows()}, at::kFloat);
      const at::Tensor y =
          linear_.call(view(x), bytes_of(weight), static_cast<int64_t>(weight.type()), bias);
      if (o.accumulate)
        view(o.y).add_(y);
      else
        view(o.y).copy_(y);
    }
  }

  void rope_store(const cpu::Rope& rope, const cpu::KvLayer& layer, Rows keys, Rows values,
                  std::span<const int32_t> positions, std::span<const int64_t> slots) override {
    int64_t blocks = 1;
    for (const int64_t slot : slots) blocks = std::max(blocks, slot / layer.block_size + 1);
    at::Tensor key_cache = cache_of(layer, layer.keys, blocks),
               value_cache = cache_of(layer, layer.values, blocks);
    rope_store_.call(key_cache, value_cache, view(keys, layer.head_dim),
                     view(values, layer.head_dim), view(positions),
                     view(slots.data(), {static_cast<int64_t>(slots.size())}, at::kLong),
                     view(rope.inv_freq), rope.kind == cpu::RopeKind::kInterleaved, rope.magnitude);
  }

  void paged_attention(const cpu::Rope& rope, const cpu::KvLayer& layer,
                       const cpu::AttentionParams& params, Rows queries,
                       std::span<const int32_t> positions,
                       std::span<const cpu::AttentionSequence> sequences, Rows out) override {
    std::vector<int64_t> sequence_rows, run_rows, blocks;
    int64_t highest = 0;
    for (const cpu::AttentionSequence& s : sequences) {
      sequence_rows.insert(sequence_rows.end(),
                           {s.first_row, s.rows, static_cast<int64_t>(run_rows.size()) / 5,
                            static_cast<int64_t>(s.runs.size())});
      for (const cpu::KvRun& run : s.runs) {
        run_rows.insert(run_rows.end(),
                        {run.lo, run.hi, run.e0, run.offset, static_cast<int64_t>(blocks.size())});
        for (int32_t i = 0; i * layer.block_size < run.hi; ++i) {
          blocks.push_back(run.blocks[i]);
          highest = std::max<int64_t>(highest, run.blocks[i]);
        }
      }
    }
    view(out, layer.head_dim)
        .copy_(paged_attention_.call(
            view(queries, layer.head_dim), view(positions),
            cache_of(layer, layer.keys, highest + 1), cache_of(layer, layer.values, highest + 1),
            view(sequence_rows, 4), view(run_rows, 5), view(blocks, 1).flatten(),
            view(rope.inv_freq), rope.kind == cpu::RopeKind::kInterleaved, rope.magnitude,
            params.scale, params.logit_softcap, params.window));
  }

  void gated_activation(cpu::Activation activation, Rows gate, Rows up) override {
    view(gate).copy_(
        gated_activation_.call(view(gate), view(up), static_cast<int64_t>(activation)));
  }

  void add_scaled(Rows x, float scale, Rows y) override { view(y).add_(view(x), scale); }

 private:
  using Tensor = const at::Tensor&;
  const c10::TypedOperatorHandle<at::Tensor(Tensor, int64_t, int64_t, Tensor, double)> embedding_ =
      find<at::Tensor(Tensor, int64_t, int64_t, Tensor, double)>("spnl_mistralrs::embedding");
  const c10::TypedOperatorHandle<at::Tensor(Tensor, Tensor, double, double)> rms_norm_ =
      find<at::Tensor(Tensor, Tensor, double, double)>("spnl_mistralrs::rms_norm");
  const c10::TypedOperatorHandle<at::Tensor(Tensor, Tensor, int64_t,
                                            const std::optional<at::Tensor>&)>
      linear_ = find<at::Tensor(Tensor, Tensor, int64_t, const std::optional<at::Tensor>&)>(
          "spnl_mistralrs::linear");
  const c10::TypedOperatorHandle<at::Tensor(Tensor, Tensor, int64_t)> gated_activation_ =
      find<at::Tensor(Tensor, Tensor, int64_t)>("spnl_mistralrs::gated_activation");
  const c10::TypedOperatorHandle<void(at::Tensor&, at::Tensor&, Tensor, Tensor, Tensor, Tensor,
                                      Tensor, bool, double)>
      rope_store_ = find<void(at::Tensor&, at::Tensor&, Tensor, Tensor, Tensor, Tensor, Tensor,
                              bool, double)>("spnl_mistralrs::rope_store");
  const c10::TypedOperatorHandle<at::Tensor(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
                                            Tensor, bool, double, double, double, int64_t)>
      paged_attention_ =
          find<at::Tensor(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, bool,
                          double, double, double, int64_t)>("spnl_mistralrs::paged_attention");
};

}  // namespace

std::unique_ptr<Ops> make_reference_ops() {
  register_torch_ops();
  return std::make_unique<ReferenceOps>();
}

}  // namespace spnl::mistralrs
