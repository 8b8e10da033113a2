#pragma once
#include <cstdint>

#include "ops/cpu/isa.h"
#include "ops/cpu/thread_team.h"
#include "spnl/modelkit/model_spec.h"

namespace spnl::mistralrs::cpu {

/// How tokens choose their experts; the fields of modelkit::Experts.
struct RouterParams {
  modelkit::Gating gating = modelkit::Gating::kSoftmax;
  int32_t experts = 0, used = 0;        ///< used <= experts
  int32_t groups = 0, groups_used = 0;  ///< experts % groups == 0; 0: no groups
  bool group_score_is_top_two = false;
  bool renormalise = false;
  float scale = 1, jitter = 0;
  const float* selection_bias = nullptr;  ///< [experts] or null
};

/// For each row of logits [m, ld]: its experts [m, used], best first, and their weights [m, used].
/// Ties go to the lower number. A row depends on nothing but itself.
void route(ThreadTeam& team, const RouterParams& params, const float* logits, int64_t ld, int64_t m,
           int32_t* experts, float* weights);

/// y[m, n] = sum over j of weights[i, j] * parts[places[i, j]], j in order. parts: rows of n.
void combine(ThreadTeam& team, Isa isa, const float* parts, const int32_t* places,
             const float* weights, int64_t used, int64_t m, int64_t n, float* y);

/// y[m, n] += sigmoid(gate[i]) * x.
void add_gated(ThreadTeam& team, Isa isa, const float* x, const float* gate, int64_t m, int64_t n,
               float* y);

}  // namespace spnl::mistralrs::cpu
