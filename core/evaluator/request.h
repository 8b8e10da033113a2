#pragma once
#include "spnl/evaluator.h"

namespace spnl::evaluator {

/// A request without prompt and samples: what the generate gives, else the host's flags, else the
/// language's defaults. `seed` is used when neither gives one.
GenerateRequest base_request(const Sampling& sampling, const EvaluateOptions& options,
                             uint64_t seed);

}  // namespace spnl::evaluator
