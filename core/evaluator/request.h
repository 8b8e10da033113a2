#pragma once
#include "spnl/evaluator.h"

namespace spnl::evaluator {

/// What a generate gives, else the host's flags, else the language's defaults. A seed only when one
/// is given.
Sampling effective_sampling(const Sampling& given, const EvaluateOptions& options);

/// True when every run of a generate with this effective sampling on one prompt gives one answer:
/// greedy, or with a seed of its own.
bool repeats_exactly(const Sampling& effective);

/// A request without prompt and samples, from effective sampling. `seed` is used when none is
/// given.
GenerateRequest base_request(const GenerateRequest& begin, const Sampling& effective,
                             uint64_t seed);

/// The seed of a generate or an input of a map from the run's seed and the hash of its node's path.
uint64_t node_seed(uint64_t run_seed, uint64_t path_hash, bool map, uint32_t input);

}  // namespace spnl::evaluator
