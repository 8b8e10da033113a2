#pragma once
#include <optional>

#include "ops/torch_pch.h"

/// The plainest definition of each operator, in ATen, for any device: what kernels are compared
/// with. Activations are float32 and contiguous. Weights are [rows, row_bytes] uint8 in the format
/// `type` (modelkit::TensorType).
namespace spnl::mistralrs::reference {

/// [m] ids -> [m, cols], times scale.
at::Tensor embedding(const at::Tensor& table, int64_t type, int64_t cols, const at::Tensor& ids,
                     double scale);
/// x [m, n], weight [n] -> [m, n].
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps,
                    double weight_offset);
/// x [m, cols] -> [m, rows].
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, int64_t type,
                  const std::optional<at::Tensor>& bias);
/// activation(gate) * up; activation 0: silu, 1: gelu with tanh.
at::Tensor gated_activation(const at::Tensor& gate, const at::Tensor& up, int64_t activation);
/// x [m, heads, d] turned by positions [m] (float64 angles), pairs as inv_freq [rotary / 2] says.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& inv_freq,
                  bool interleaved, double magnitude);
/// Writes keys, turned, and values [m, kv_heads, d] into caches [blocks, kv_heads, block_size, d]
/// at slots [m].
void rope_store(at::Tensor& key_cache, at::Tensor& value_cache, const at::Tensor& keys,
                const at::Tensor& values, const at::Tensor& positions, const at::Tensor& slots,
                const at::Tensor& inv_freq, bool interleaved, double magnitude);
/// queries [m, heads, d], not turned -> [m, heads, d]. Row s of `sequences` [s, 4] is {first row,
/// rows, first run, runs}; row r of `runs` [r, 5] is {lo, hi, e0, offset, first of its blocks in
/// `blocks`}. The other algebra than the kernels': cached keys are turned by the run's offset,
/// visibility is a dense additive mask, softmax in float32.
at::Tensor paged_attention(const at::Tensor& queries, const at::Tensor& positions,
                           const at::Tensor& key_cache, const at::Tensor& value_cache,
                           const at::Tensor& sequences, const at::Tensor& runs,
                           const at::Tensor& blocks, const at::Tensor& inv_freq, bool interleaved,
                           double magnitude, double scale, double softcap, int64_t window);

}  // namespace spnl::mistralrs::reference
