#include "ops/reference.h"

#include <limits>

#include "spnl/modelkit/block_formats.h"

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

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps,
                    double weight_offset) {
  return x * at::rsqrt(x.pow(2).mean(-1, /*keepdim=*/true) + eps) * (weight + weight_offset);
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, int64_t type,
                  const std::optional<at::Tensor>& bias) {
  return at::linear(x, dequantize(weight, type, x.size(-1)), bias);
}

at::Tensor gated_activation(const at::Tensor& gate, const at::Tensor& up, int64_t activation) {
  return (activation == 0 ? at::silu(gate) : at::gelu(gate, "tanh")) * up;
}

at::Tensor rotate(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& inv_freq,
                  bool interleaved, double magnitude) {
  const int64_t half = inv_freq.size(0), rotary = 2 * half;
  if (half == 0) return x;
  const at::Tensor angles =
      positions.to(at::kDouble).unsqueeze(1) * inv_freq.unsqueeze(0);             // [m, half]
  const at::Tensor cos = (angles.cos() * magnitude).to(at::kFloat).unsqueeze(1);  // [m, 1, half]
  const at::Tensor sin = (angles.sin() * magnitude).to(at::kFloat).unsqueeze(1);
  const at::Tensor turning = x.slice(2, 0, rotary), rest = x.slice(2, rotary);
  const at::Tensor a = interleaved ? turning.slice(2, 0, rotary, 2) : turning.slice(2, 0, half);
  const at::Tensor b =
      interleaved ? turning.slice(2, 1, rotary, 2) : turning.slice(2, half, rotary);
  const at::Tensor turned_a = a * cos - b * sin, turned_b = b * cos + a * sin;  // [m, heads, half]
  const at::Tensor turned = interleaved ? at::stack({turned_a, turned_b}, -1).flatten(2)
                                        : at::cat({turned_a, turned_b}, -1);
  return at::cat({turned, rest}, -1);
}

void rope_store(at::Tensor& key_cache, at::Tensor& value_cache, const at::Tensor& keys,
                const at::Tensor& values, const at::Tensor& positions, const at::Tensor& slots,
                const at::Tensor& inv_freq, bool interleaved, double magnitude) {
  const int64_t block_size = key_cache.size(2);
  const at::Tensor block = at::floor_divide(slots, block_size),
                   index = at::remainder(slots, block_size);  // [m]
  const at::Tensor turned =
      rotate(keys, positions, inv_freq, interleaved, magnitude).to(key_cache.scalar_type());
  // Slot axis next to the block axis: one index pair then selects [kv_heads, d].
  key_cache.transpose(1, 2).index_put_({block, index}, turned);
  value_cache.transpose(1, 2).index_put_({block, index}, values.to(value_cache.scalar_type()));
}

at::Tensor paged_attention(const at::Tensor& queries, const at::Tensor& positions,
                           const at::Tensor& key_cache, const at::Tensor& value_cache,
                           const at::Tensor& sequences, const at::Tensor& runs,
                           const at::Tensor& blocks, const at::Tensor& inv_freq, bool interleaved,
                           double magnitude, double scale, double softcap, int64_t window) {
  const int64_t block_size = key_cache.size(2), group = queries.size(1) / key_cache.size(1);
  const auto longs = at::TensorOptions().dtype(at::kLong).device(queries.device());
  const at::Tensor rotated = rotate(queries, positions, inv_freq, interleaved, magnitude);
  const auto sequence = sequences.accessor<int64_t, 2>();
  const auto run = runs.accessor<int64_t, 2>();
  at::Tensor out = at::zeros_like(queries);
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
          key_cache.transpose(1, 2).index({block, index}).to(at::kFloat);  // [len, kv_heads, d]
      all_keys.push_back(
          rotate(keys, at::full({hi - lo}, offset, longs), inv_freq, interleaved, 1.0));
      all_values.push_back(value_cache.transpose(1, 2).index({block, index}).to(at::kFloat));
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
    const at::Tensor weights =
        at::nan_to_num(at::softmax(scores + mask, -1), 0.0);  // a row that sees nothing gives zeros
    out.slice(0, first, first + rows).copy_(at::einsum("hqk,khd->qhd", {weights, values}));
  }
  return out;
}

}  // namespace spnl::mistralrs::reference
