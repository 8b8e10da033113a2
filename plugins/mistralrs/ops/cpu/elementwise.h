#pragma once
#include <cstdint>

#include "ops/cpu/isa.h"
#include "ops/cpu/thread_team.h"

namespace spnl::mistralrs::cpu {

/// y[m, n] = x / sqrt(mean(x^2) + eps) * weight (+ weight_offset: 1 for Gemma's (1 + w)). x may
/// equal y. Sums are made in float32 over fixed pieces, so a row does not depend on m.
void rms_norm(ThreadTeam& team, Isa isa, const float* x, const float* weight, float eps,
              float weight_offset, int64_t m, int64_t n, float* y);

enum class Activation { kSilu, kGeluTanh };
/// gate[m, n] = activation(gate) * up, in place.
void gated_activation(ThreadTeam& team, Isa isa, Activation activation, float* gate,
                      const float* up, int64_t m, int64_t n);

/// y[m, n] += scale * x.
void add_scaled(ThreadTeam& team, Isa isa, const float* x, float scale, int64_t m, int64_t n,
                float* y);

}  // namespace spnl::mistralrs::cpu
