#pragma once
#include <cstdint>
#include <span>

#include "engine/model.h"

namespace spnl::mistralrs {

/// Evaluates ids as they are; the results are those of spnl_score_v1. logprobs [ids.size()];
/// top_ids, top_logits [k]. Waits for the engine's turn. Throws modelkit::Error(kInvalid). False:
/// running sessions hold the blocks that are needed.
bool score(Model& model, std::span<const int32_t> ids, std::span<float> logprobs,
           std::span<int32_t> top_ids, std::span<float> top_logits, double& log_sum_exp);

}  // namespace spnl::mistralrs
