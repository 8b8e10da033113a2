#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
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

/// A registered operator, called through the dispatcher as F is declared.
template <class F>
class Operator;
template <class Result, class... Args>
class Operator<Result(Args...)> {
 public:
  explicit Operator(const char* name)
      : handle_(c10::Dispatcher::singleton()
                    .findSchemaOrThrow(name, "")
                    .template typed<Result(Args...)>()) {}
  Result operator()(Args... args) const { return handle_.call(args...); }

 private:
  c10::TypedOperatorHandle<Result(Args...)> handle_;
};

template <class T>
at::Tensor view(const T* data, at::IntArrayRef sizes, at::ScalarType type) {
  return at::from_blob(const_cast<T*>(data), sizes, at::TensorOptions().dtype(type));
}
at::Tensor view(Rows rows) {
  return at::from_blob(rows.data, {rows.count, rows.width}, {rows.stride, 1},
                       at::TensorOptions().dtype(at::kFloat));
}
at::Tensor view(Rows rows, int64_t head_dim) {
  return view(rows).unflatten(1, {rows.width / head_dim, head_dim});
}
at::Tensor view(std::span<const int32_t> x) {
  return view(x.data(), {static_cast<int64_t>(x.size())}, at::kInt);
}
at::Tensor view(const std::vector<int64_t>& x, int64_t width) {
  return view(x.data(), {static_cast<int64_t>(x.size()) / width, width}, at::kLong);
}
/// [size], or none for null.
std::optional<at::Tensor> view_if(const float* data, at::IntArrayRef sizes) {
  if (data == nullptr) return std::nullopt;
  return view(data, sizes, at::kFloat);
}

at::Tensor bytes_of(const modelkit::Weight& w) {
  const auto rows = static_cast<int64_t>(w.rows()), bytes = static_cast<int64_t>(w.row_bytes());
  if (w.data() != nullptr) return view(w.data(), {rows, bytes}, at::kByte);
  at::Tensor made = at::empty({rows, bytes}, at::kByte);
  w.read_blocks(0, w.rows(), static_cast<std::byte*>(made.data_ptr()));
  return made;
}

at::Tensor cache_of(const cpu::KvLayer& layer, void* data, int64_t dim, int64_t blocks) {
  if (layer.type == cpu::KvType::kQ8_0)
    return at::from_blob(
        data, {blocks, layer.kv_heads, layer.block_size, cpu::kv_row_bytes(layer.type, dim)},
        at::TensorOptions().dtype(at::kByte));
  const at::ScalarType type = layer.type == cpu::KvType::kF32   ? at::kFloat
                              : layer.type == cpu::KvType::kF16 ? at::kHalf
                                                                : at::kBFloat16;
  return at::from_blob(data, {blocks, layer.kv_heads, layer.block_size, dim},
                       at::TensorOptions().dtype(type));
}
at::Tensor keys_of(const cpu::KvLayer& layer, int64_t blocks) {
  return cache_of(layer, layer.keys, layer.head_dim, blocks);
}
std::optional<at::Tensor> values_of(const cpu::KvLayer& layer, int64_t blocks) {
  if (layer.values == nullptr) return std::nullopt;
  return cache_of(layer, layer.values, layer.value_dim, blocks);
}

reference::RowRope row_rope(const cpu::Rope& rope, const cpu::RowPositions& positions) {
  const auto m = static_cast<int64_t>(positions.at.size());
  at::Tensor inv_freq = at::empty({m, rope.pairs()}, at::kDouble),
             magnitude = at::empty({m}, at::kDouble);
  for (int64_t i = 0; i < m; ++i) {
    const cpu::RopeTurns& turns = rope.of(positions.is_long(i));
    std::copy(turns.inv_freq.begin(), turns.inv_freq.end(),
              inv_freq.data_ptr<double>() + i * rope.pairs());
    magnitude.data_ptr<double>()[i] = turns.magnitude;
  }
  return {inv_freq, magnitude, rope.first_dim, rope.kind == cpu::RopeKind::kInterleaved};
}

/// The lists of paged_attention as tensors: see reference.h.
struct Visible {
  Visible(std::span<const cpu::AttentionSequence> list, int32_t block_size) {
    for (const cpu::AttentionSequence& s : list) {
      sequences.insert(sequences.end(), {s.first_row, s.rows, static_cast<int64_t>(runs.size()) / 5,
                                         static_cast<int64_t>(s.runs.size())});
      for (const cpu::KvRun& run : s.runs) {
        runs.insert(runs.end(),
                    {run.lo, run.hi, run.e0, run.offset, static_cast<int64_t>(blocks.size())});
        for (int32_t i = 0; i * block_size < run.hi; ++i) {
          blocks.push_back(run.blocks[i]);
          highest = std::max<int64_t>(highest, run.blocks[i]);
        }
      }
    }
  }
  std::vector<int64_t> sequences, runs, blocks;
  int64_t highest = 0;
};

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
    view(y).copy_(
        embedding_(bytes_of(table), static_cast<int64_t>(table.type()), y.width, view(ids), scale));
  }

  void norm(const cpu::NormParams& params, Rows x, Rows y) override {
    const std::array<int64_t, 2> sizes{params.weight_rows, x.width};
    view(y).copy_(norm_(view(x).contiguous(), view(params.weight, sizes, at::kFloat),
                        view_if(params.bias, sizes), params.kind == cpu::NormKind::kLayer,
                        params.eps, params.weight_offset));
  }

  void linear(std::span<const LinearGroup> groups) override {
    for (const LinearGroup& group : groups) {
      at::Tensor x = view(group.x).contiguous();
      if (!group.rows.empty()) x = x.index_select(0, view(group.rows));
      for (const LinearOutput& o : group.outputs) {
        const modelkit::Weight& weight = static_cast<const ReferenceMatrix*>(o.weight)->weight;
        std::optional<at::Tensor> order;
        if (weight.input_order() != nullptr)
          order = view(reinterpret_cast<const int32_t*>(weight.input_order()->data()),
                       {o.weight->cols()}, at::kInt);
        const at::Tensor y = linear_(x, bytes_of(weight), static_cast<int64_t>(weight.type()),
                                     view_if(o.bias, {o.weight->rows()}), order);
        if (o.accumulate)
          view(o.y).add_(y);
        else
          view(o.y).copy_(y);
      }
    }
  }

  void rope_store(const cpu::Rope& rope, const cpu::KvLayer& layer, Rows keys, Rows values,
                  const cpu::RowPositions& positions, std::span<const int64_t> slots) override {
    int64_t blocks = 1;
    for (const int64_t slot : slots) blocks = std::max(blocks, slot / layer.block_size + 1);
    at::Tensor key_cache = keys_of(layer, blocks);
    const reference::RowRope turns = row_rope(rope, positions);
    std::optional<at::Tensor> new_values;
    if (layer.values != nullptr) new_values = view(values, layer.value_dim);
    rope_store_(key_cache, values_of(layer, blocks), view(keys, layer.head_dim), new_values,
                view(positions.at),
                view(slots.data(), {static_cast<int64_t>(slots.size())}, at::kLong), turns.inv_freq,
                turns.magnitude, turns.first_dim, turns.interleaved);
  }

  void paged_attention(const cpu::Rope& rope, const cpu::KvLayer& layer,
                       const cpu::AttentionParams& params, Rows queries,
                       const cpu::RowPositions& positions,
                       std::span<const cpu::AttentionSequence> sequences, Rows out) override {
    const Visible visible(sequences, layer.block_size);
    const reference::RowRope turns = row_rope(rope, positions);
    view(out, layer.value_dim)
        .copy_(paged_attention_(
            view(queries, layer.head_dim), view(positions.at), keys_of(layer, visible.highest + 1),
            values_of(layer, visible.highest + 1), layer.value_dim, view(visible.sequences, 4),
            view(visible.runs, 5), view(visible.blocks, 1).flatten(), turns.inv_freq,
            turns.magnitude, turns.first_dim, turns.interleaved, params.scale, params.logit_softcap,
            params.window, view_if(params.sinks, {params.heads})));
  }

  void activate(cpu::Activation activation, Rows gate, Rows up) override {
    std::optional<at::Tensor> factor;
    if (up.data != nullptr) factor = view(up);
    view(gate).copy_(activate_(view(gate), factor, static_cast<int64_t>(activation)));
  }

  void add_scaled(Rows x, float scale, Rows y) override { view(y).add_(view(x), scale); }

  void scale_and_cap(float scale, float cap, Rows x) override {
    view(x).copy_(scale_and_cap_(view(x), scale, cap));
  }

  void copy(Rows from, Rows to) override { view(to).copy_(view(from)); }

  void route(const cpu::RouterParams& params, Rows logits, std::span<int32_t> experts,
             std::span<float> weights) override {
    const auto [chosen, shares] =
        route_(view(logits), view_if(params.selection_bias, {params.experts}),
               static_cast<int64_t>(params.gating), params.used, params.groups, params.groups_used,
               params.group_score_is_top_two, params.renormalise, params.scale, params.jitter);
    const std::array<int64_t, 2> sizes{logits.count, params.used};
    view(experts.data(), sizes, at::kInt).copy_(chosen);
    view(weights.data(), sizes, at::kFloat).copy_(shares);
  }

  void combine(Rows parts, std::span<const int32_t> places, std::span<const float> weights,
               Rows y) override {
    const std::array<int64_t, 2> sizes{y.count, static_cast<int64_t>(places.size()) / y.count};
    const at::Tensor rows =
        view(parts).index_select(0, view(places)).unflatten(0, sizes);  // [m, used, n]
    view(y).copy_((rows * view(weights.data(), sizes, at::kFloat).unsqueeze(-1)).sum(1));
  }

  void add_gated(Rows x, Rows gate, Rows y) override {
    view(y).add_(view(x) * at::sigmoid(view(gate)));
  }

 private:
  using Tensor = const at::Tensor&;
  using Maybe = const std::optional<at::Tensor>&;
  const Operator<at::Tensor(Tensor, int64_t, int64_t, Tensor, double)> embedding_{
      "spnl_mistralrs::embedding"};
  const Operator<at::Tensor(Tensor, Tensor, Maybe, bool, double, double)> norm_{
      "spnl_mistralrs::norm"};
  const Operator<at::Tensor(Tensor, Tensor, int64_t, Maybe, Maybe)> linear_{
      "spnl_mistralrs::linear"};
  const Operator<at::Tensor(Tensor, Maybe, int64_t)> activate_{"spnl_mistralrs::activate"};
  const Operator<at::Tensor(Tensor, double, double)> scale_and_cap_{
      "spnl_mistralrs::scale_and_cap"};
  const Operator<std::tuple<at::Tensor, at::Tensor>(Tensor, Maybe, int64_t, int64_t, int64_t,
                                                    int64_t, bool, bool, double, double)>
      route_{"spnl_mistralrs::route"};
  const Operator<void(at::Tensor&, Maybe, Tensor, Maybe, Tensor, Tensor, Tensor, Tensor, int64_t,
                      bool)>
      rope_store_{"spnl_mistralrs::rope_store"};
  const Operator<at::Tensor(Tensor, Tensor, Tensor, Maybe, int64_t, Tensor, Tensor, Tensor, Tensor,
                            Tensor, int64_t, bool, double, double, int64_t, Maybe)>
      paged_attention_{"spnl_mistralrs::paged_attention"};
};

}  // namespace

std::unique_ptr<Ops> make_reference_ops(int threads) {
  if (threads > 0) at::set_num_threads(threads);
  register_torch_ops();
  return std::make_unique<ReferenceOps>();
}

}  // namespace spnl::mistralrs
