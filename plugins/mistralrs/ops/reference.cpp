#include "ops/reference.h"

#include <algorithm>
#include <limits>

#include "ops/cpu/elementwise.h"
#include "spnl/modelkit/block_formats.h"
#include "spnl/modelkit/model_spec.h"

namespace spnl::mistralrs::reference {
namespace {

/// [rows, row_bytes] uint8 -> [rows, cols] float32 on the same device.
at::Tensor dequantize(const at::Tensor& bytes, int64_t type, int64_t cols) {
  const auto tensor_type = static_cast<modelkit::TensorType>(type);
  if (tensor_type == modelkit::TensorType::kF32) return bytes.contiguous().view(at::kFloat);
  const at::Tensor host = bytes.to(at::kCPU).contiguous();
  at::Tensor out = at::empty({host.size(0), cols}, at::kFloat);
  for (int64_t r = 0; r < host.size(0); ++r)
    modelkit::dequantize_row(tensor_type, host.data_ptr<uint8_t>() + r * host.size(1),
                             static_cast<uint64_t>(cols), out.data_ptr<float>() + r * cols);
  return out.to(bytes.device());
}

}  // namespace

at::Tensor embedding(const at::Tensor& table, int64_t type, int64_t cols, const at::Tensor& ids,
                     double scale) {
  return dequantize(table.index_select(0, ids), type, cols) * scale;
}

at::Tensor norm(const at::Tensor& x, const at::Tensor& weight,
                const std::optional<at::Tensor>& bias, bool layer_norm, double eps,
                double weight_offset) {
  const at::Tensor centered = layer_norm ? x - x.mean(-1, /*keepdim=*/true) : x;
  const at::Tensor scaled = centered * at::rsqrt(centered.pow(2).mean(-1, /*keepdim=*/true) + eps);
  const at::Tensor by_head = scaled.view({-1, weight.size(0), weight.size(1)});
  const at::Tensor y = by_head * (weight + weight_offset);
  return (bias ? y + *bias : y).view(x.sizes());
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, int64_t type,
                  const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>& order) {
  const at::Tensor input = order ? x.index_select(-1, *order) : x;
  return at::linear(input, dequantize(weight, type, x.size(-1)), bias);
}

at::Tensor activate(const at::Tensor& gate, const std::optional<at::Tensor>& up,
                    int64_t activation) {
  at::Tensor y, factor;
  if (up) factor = *up;
  switch (static_cast<cpu::Activation>(activation)) {
    case cpu::Activation::kSilu:
      y = at::silu(gate);
      break;
    case cpu::Activation::kGeluTanh:
      y = at::gelu(gate, "tanh");
      break;
    case cpu::Activation::kGeluErf:
      y = at::gelu(gate, "none");
      break;
    case cpu::Activation::kReluSquared:
      y = at::relu(gate).pow(2);
      break;
    case cpu::Activation::kClampedSwiglu: {
      const at::Tensor g = gate.clamp_max(7);
      y = g * at::sigmoid(g * 1.702);
      if (up) factor = up->clamp(-7, 7) + 1;
      break;
    }
  }
  return up ? y * factor : y;
}

at::Tensor scale_and_cap(const at::Tensor& x, double scale, double cap) {
  const at::Tensor y = x * scale;
  return cap > 0 ? at::tanh(y / cap) * cap : y;
}

namespace {

constexpr float kNegInf = -std::numeric_limits<float>::infinity();

/// PhiMoE: each pick is weighted by a softmax over the logits near the best one left.
std::tuple<at::Tensor, at::Tensor> sparse_mixer(const at::Tensor& logits, int64_t used,
                                                double jitter) {
  std::vector<at::Tensor> experts, weights;
  at::Tensor left = logits;
  for (int64_t i = 0; i < used; ++i) {
    const auto [top, index] = left.max(-1, /*keepdim=*/true);
    const at::Tensor far = ((top - logits) / at::maximum(logits.abs(), top)).gt(2 * jitter);
    weights.push_back(at::softmax(left.masked_fill(far, kNegInf), -1).gather(-1, index));
    experts.push_back(index);
    left = left.scatter(-1, index, kNegInf);
  }
  return {at::cat(experts, -1), at::cat(weights, -1)};
}

/// [m, experts] bool: inside the best groups.
at::Tensor in_best_groups(const at::Tensor& selection, int64_t groups, int64_t groups_used,
                          bool top_two) {
  const at::Tensor grouped = selection.view({selection.size(0), groups, -1});
  const int64_t best = top_two ? std::min<int64_t>(2, grouped.size(2)) : 1;
  const at::Tensor scores = std::get<0>(grouped.topk(best, -1)).sum(-1);  // [m, groups]
  const at::Tensor kept = std::get<1>(scores.topk(groups_used, -1));      // [m, groups_used]
  const at::Tensor mask = at::zeros(scores.sizes(), at::kBool).scatter(-1, kept, true);
  return mask.unsqueeze(-1).expand(grouped.sizes()).reshape(selection.sizes());
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> route(const at::Tensor& logits,
                                         const std::optional<at::Tensor>& selection_bias,
                                         int64_t gating, int64_t used, int64_t groups,
                                         int64_t groups_used, bool group_score_is_top_two,
                                         bool renormalise, double scale, double jitter) {
  using modelkit::Gating;
  const auto kind = static_cast<Gating>(gating);
  if (kind == Gating::kSparseMixer) {
    const auto [experts, weights] = sparse_mixer(logits, used, jitter);
    return {experts, weights * scale};
  }
  const at::Tensor scores = kind == Gating::kSoftmax   ? at::softmax(logits, -1)
                            : kind == Gating::kSigmoid ? at::sigmoid(logits)
                                                       : logits;
  at::Tensor selection = selection_bias ? scores + *selection_bias : scores;
  if (groups > 0)
    selection = selection.masked_fill(
        in_best_groups(selection, groups, groups_used, group_score_is_top_two).logical_not(),
        kNegInf);
  const at::Tensor experts = std::get<1>(selection.topk(used, -1));
  at::Tensor weights = scores.gather(-1, experts);
  if (kind == Gating::kSoftmaxOfTop) weights = at::softmax(weights, -1);
  if (renormalise) weights = weights / (weights.sum(-1, /*keepdim=*/true) + 1e-20);
  return {experts, weights * scale};
}

at::Tensor rotate(const at::Tensor& x, const at::Tensor& positions, const RowRope& rope) {
  const int64_t half = rope.inv_freq.size(1), first = rope.first_dim, rotary = 2 * half;
  if (half == 0) return x;
  const at::Tensor angles = positions.to(at::kDouble).unsqueeze(1) * rope.inv_freq;  // [m, half]
  const at::Tensor magnitude = rope.magnitude.unsqueeze(1);                          // [m, 1]
  const at::Tensor cos = (angles.cos() * magnitude).to(at::kFloat).unsqueeze(1);     // [m, 1, half]
  const at::Tensor sin = (angles.sin() * magnitude).to(at::kFloat).unsqueeze(1);
  const at::Tensor turning = x.slice(2, first, first + rotary);
  const at::Tensor a =
      rope.interleaved ? turning.slice(2, 0, rotary, 2) : turning.slice(2, 0, half);
  const at::Tensor b =
      rope.interleaved ? turning.slice(2, 1, rotary, 2) : turning.slice(2, half, rotary);
  const at::Tensor turned_a = a * cos - b * sin, turned_b = b * cos + a * sin;  // [m, heads, half]
  const at::Tensor turned = rope.interleaved ? at::stack({turned_a, turned_b}, -1).flatten(2)
                                             : at::cat({turned_a, turned_b}, -1);
  return at::cat({x.slice(2, 0, first), turned, x.slice(2, first + rotary)}, -1);
}

namespace {

/// x [.., d] as a cache of that type has it. Bytes: blocks of 32 elements, an f16 scale and then
/// the elements as signed bytes.
at::Tensor encode(const at::Tensor& x, at::ScalarType type) {
  if (type != at::kByte) return x.to(type);
  const at::Tensor blocks = x.to(at::kFloat).unflatten(-1, {-1, 32});  // [.., d / 32, 32]
  const at::Tensor d = (blocks.abs().amax(-1, true) / 127).to(at::kHalf);
  const at::Tensor inverse = at::where(d.gt(0), d.to(at::kFloat).reciprocal(), 0.0f);
  const at::Tensor q = (blocks * inverse).round().clamp(-128, 127).to(at::kChar);
  return at::cat({d.contiguous().view(at::kByte), q.view(at::kByte)}, -1).flatten(-2);
}
at::Tensor decode(const at::Tensor& cached) {
  if (cached.scalar_type() != at::kByte) return cached.to(at::kFloat);
  const at::Tensor blocks = cached.unflatten(-1, {-1, 2 + 32});
  const at::Tensor d = blocks.slice(-1, 0, 2).contiguous().view(at::kHalf).to(at::kFloat);
  return (blocks.slice(-1, 2).contiguous().view(at::kChar).to(at::kFloat) * d).flatten(-2);
}

}  // namespace

void rope_store(at::Tensor& key_cache, const std::optional<at::Tensor>& value_cache,
                const at::Tensor& keys, const std::optional<at::Tensor>& values,
                const at::Tensor& positions, const at::Tensor& slots, const at::Tensor& inv_freq,
                const at::Tensor& magnitude, int64_t first_dim, bool interleaved) {
  const int64_t block_size = key_cache.size(2);
  const at::Tensor block = at::floor_divide(slots, block_size),
                   index = at::remainder(slots, block_size);  // [m]
  const at::Tensor turned =
      encode(rotate(keys, positions, {inv_freq, magnitude, first_dim, interleaved}),
             key_cache.scalar_type());
  // Slot axis next to the block axis: one index pair then selects [kv_heads, d].
  key_cache.transpose(1, 2).index_put_({block, index}, turned);
  if (values)
    value_cache->transpose(1, 2).index_put_({block, index},
                                            encode(*values, key_cache.scalar_type()));
}

at::Tensor paged_attention(const at::Tensor& queries, const at::Tensor& positions,
                           const at::Tensor& key_cache,
                           const std::optional<at::Tensor>& value_cache, int64_t value_dim,
                           const at::Tensor& sequences, const at::Tensor& runs,
                           const at::Tensor& blocks, const at::Tensor& inv_freq,
                           const at::Tensor& magnitude, int64_t first_dim, bool interleaved,
                           double scale, double softcap, int64_t window,
                           const std::optional<at::Tensor>& sinks) {
  const int64_t block_size = key_cache.size(2), group = queries.size(1) / key_cache.size(1);
  const auto longs = at::TensorOptions().dtype(at::kLong).device(queries.device());
  const RowRope rope{inv_freq, magnitude, first_dim, interleaved};
  const at::Tensor rotated = rotate(queries, positions, rope);
  const auto sequence = sequences.accessor<int64_t, 2>();
  const auto run = runs.accessor<int64_t, 2>();
  at::Tensor out = at::zeros({queries.size(0), queries.size(1), value_dim}, queries.options());
  for (int64_t s = 0; s < sequences.size(0); ++s) {
    std::vector<at::Tensor> all_keys, all_values, all_positions;
    for (int64_t r = sequence[s][2]; r < sequence[s][2] + sequence[s][3]; ++r) {
      const int64_t lo = run[r][0], hi = run[r][1], e0 = run[r][2], offset = run[r][3],
                    first_block = run[r][4];
      const at::Tensor i = at::arange(lo, hi, longs);
      const at::Tensor block =
          blocks.index_select(0, at::floor_divide(i, block_size) + first_block);
      const at::Tensor index = at::remainder(i, block_size);
      const at::Tensor keys =
          decode(key_cache.transpose(1, 2).index({block, index}));  // [len, kv_heads, d]
      RowRope turn = rope.rows(sequence[s][0], 1);  // a sequence turns by one set of frequencies
      turn.inv_freq = turn.inv_freq.expand({hi - lo, -1});
      turn.magnitude = at::ones({hi - lo}, at::kDouble);  // keys have theirs already
      all_keys.push_back(rotate(keys, at::full({hi - lo}, offset, longs), turn));
      all_values.push_back(value_cache ? decode(value_cache->transpose(1, 2).index({block, index}))
                                       : keys.slice(2, 0, value_dim));
      all_positions.push_back(i - lo + e0 + offset);
    }
    const int64_t first = sequence[s][0], rows = sequence[s][1];
    if (all_keys.empty() || rows == 0) continue;
    const at::Tensor keys = at::cat(all_keys).repeat_interleave(group, 1);      // [len, heads, d]
    const at::Tensor values = at::cat(all_values).repeat_interleave(group, 1);  // [len, heads, d]
    const at::Tensor key_position = at::cat(all_positions).unsqueeze(0);        // [1, len]
    const at::Tensor query_position =
        positions.slice(0, first, first + rows).unsqueeze(1).to(at::kLong);  // [rows, 1]
    at::Tensor visible = key_position.le(query_position);                    // [rows, len]
    if (window > 0) visible = visible.logical_and(key_position.gt(query_position - window));
    const at::Tensor mask =
        at::zeros(visible.sizes(), queries.options())
            .masked_fill(visible.logical_not(), -std::numeric_limits<float>::infinity());
    at::Tensor scores =
        at::einsum("qhd,khd->hqk", {rotated.slice(0, first, first + rows), keys}) * scale;
    if (softcap > 0) scores = at::tanh(scores / softcap) * softcap;
    scores = scores + mask;  // [heads, rows, len]
    if (sinks) scores = at::cat({scores, sinks->view({-1, 1, 1}).expand({-1, rows, 1})}, -1);
    const at::Tensor weights = at::nan_to_num(at::softmax(scores, -1), 0.0)  // a row that sees
                                   .slice(-1, 0, keys.size(0));              // nothing: zeros
    out.slice(0, first, first + rows).copy_(at::einsum("hqk,khd->qhd", {weights, values}));
  }
  return out;
}

}  // namespace spnl::mistralrs::reference
