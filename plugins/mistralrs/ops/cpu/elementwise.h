#pragma once
#include <cstdint>

#include "ops/cpu/isa.h"
#include "ops/cpu/thread_team.h"

namespace spnl::mistralrs::cpu {

enum class NormKind { kRms, kLayer };

/// RMS: y = x / sqrt(mean(x^2) + eps) * (weight + weight_offset). Layer: the mean is subtracted
/// first, bias added last.
struct NormParams {
  NormKind kind = NormKind::kRms;
  float eps = 0, weight_offset = 0;  ///< weight_offset: 1 for Gemma's (1 + w)
  const float* weight = nullptr;     ///< [weight_rows, n]: row r uses row r % weight_rows
  const float* bias = nullptr;       ///< the same, or null
  int64_t weight_rows = 1;           ///< heads with a norm each have a row each
};

/// y[m, ldy] = norm of x[m, ldx] over n columns. y may be x. Sums are made in float32 over fixed
/// pieces, so a row does not depend on m.
void norm(ThreadTeam& team, Isa isa, const NormParams& params, const float* x, int64_t ldx,
          int64_t m, int64_t n, float* y, int64_t ldy);

enum class Activation {
  kSilu,
  kGeluTanh,
  kGeluErf,
  kReluSquared,
  kClampedSwiglu,  ///< g = min(gate, 7), u = clamp(up, -7, 7): (u + 1) * g * sigmoid(1.702 g)
};
/// gate[m, n] = activation(gate) * up, in place; `up` null: not multiplied.
void activate(ThreadTeam& team, Isa isa, Activation activation, float* gate, const float* up,
              int64_t m, int64_t n);

/// y[m, n] += scale * x.
void add_scaled(ThreadTeam& team, Isa isa, const float* x, float scale, int64_t m, int64_t n,
                float* y);

/// x[n] = scale * x, and then cap * tanh(x / cap) where cap > 0.
void scale_and_cap(ThreadTeam& team, Isa isa, float scale, float cap, float* x, int64_t n);

}  // namespace spnl::mistralrs::cpu
