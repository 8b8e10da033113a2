#pragma once
#include <optional>
#include <tuple>

#include "ops/torch_pch.h"

/// The plainest definition of each operator, in ATen, for any device: what kernels are compared
/// with. Activations are float32 and contiguous. Weights are [rows, row_bytes] uint8 in the format
/// `type` (modelkit::TensorType).
namespace spnl::mistralrs::reference {

/// [m] ids -> [m, cols], times scale.
at::Tensor embedding(const at::Tensor& table, int64_t type, int64_t cols, const at::Tensor& ids,
                     double scale);
/// x [m, n], weight and bias [weight_rows, n], row r of x taking row r % weight_rows -> [m, n].
at::Tensor norm(const at::Tensor& x, const at::Tensor& weight,
                const std::optional<at::Tensor>& bias, bool layer_norm, double eps,
                double weight_offset);
/// x [m, cols] -> [m, rows]; with `order` [cols], column c of weight multiplies x's order[c].
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, int64_t type,
                  const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>& order);
/// activation(gate) * up; activation: cpu::Activation.
at::Tensor activate(const at::Tensor& gate, const std::optional<at::Tensor>& up,
                    int64_t activation);
at::Tensor scale_and_cap(const at::Tensor& x, double scale, double cap);
/// logits [m, experts] -> experts [m, used] int64 and weights [m, used]; gating: modelkit::Gating.
std::tuple<at::Tensor, at::Tensor> route(const at::Tensor& logits,
                                         const std::optional<at::Tensor>& selection_bias,
                                         int64_t gating, int64_t used, int64_t groups,
                                         int64_t groups_used, bool group_score_is_top_two,
                                         bool renormalise, double scale, double jitter);

/// Rotary embedding of rows: inv_freq and magnitude for each row, since sequences of a batch may
/// turn by different ones.
struct RowRope {
  at::Tensor inv_freq;   ///< [m, pairs] float64
  at::Tensor magnitude;  ///< [m] float64
  int64_t first_dim;
  bool interleaved;

  RowRope rows(int64_t first, int64_t count) const {
    return {inv_freq.slice(0, first, first + count), magnitude.slice(0, first, first + count),
            first_dim, interleaved};
  }
};
/// x [m, heads, d] turned by positions [m] (float64 angles).
at::Tensor rotate(const at::Tensor& x, const at::Tensor& positions, const RowRope& rope);
/// Writes keys, turned, and values [m, kv_heads, d] into caches [blocks, kv_heads, block_size, d]
/// at slots [m]; a cache of bytes has rows of d / 32 blocks, an f16 scale and 32 signed bytes each.
/// Without values: keys alone.
void rope_store(at::Tensor& key_cache, const std::optional<at::Tensor>& value_cache,
                const at::Tensor& keys, const std::optional<at::Tensor>& values,
                const at::Tensor& positions, const at::Tensor& slots, const at::Tensor& inv_freq,
                const at::Tensor& magnitude, int64_t first_dim, bool interleaved);
/// queries [m, heads, d], not turned -> [m, heads, value_dim]. Row s of `sequences` [s, 4] is
/// {first row, rows, first run, runs}; row r of `runs` [r, 5] is {lo, hi, e0, offset, first of its
/// blocks in `blocks`}. Without value_cache a value is the first value_dim elements of its key. The
/// other algebra than the kernels': cached keys are turned by the run's offset, visibility is a
/// dense additive mask, softmax in float32.
at::Tensor paged_attention(const at::Tensor& queries, const at::Tensor& positions,
                           const at::Tensor& key_cache,
                           const std::optional<at::Tensor>& value_cache, int64_t value_dim,
                           const at::Tensor& sequences, const at::Tensor& runs,
                           const at::Tensor& blocks, const at::Tensor& inv_freq,
                           const at::Tensor& magnitude, int64_t first_dim, bool interleaved,
                           double scale, double softcap, int64_t window,
                           const std::optional<at::Tensor>& sinks);

}  // namespace spnl::mistralrs::reference
