#pragma once
#include "spnl/evaluator.h"

namespace spnl::evaluator {

/// A request without prompt and samples, from effective sampling. `seed` is used when none is
/// given.
GenerateRequest base_request(const GenerateRequest& begin, const Sampling& effective,
                             uint64_t seed);

/// The seed of a generate or an input of a map from the run's seed and the hash of its node's path.
uint64_t node_seed(uint64_t run_seed, uint64_t path_hash, bool map, uint32_t input);

}  // namespace spnl::evaluator
