#pragma once
#include <cstdint>

#include "spnl/evaluator.h"

namespace spnl::evaluator {

/// How many generations of remote models may be in flight at once: what the options say, else the
/// environment's SPNL_NUM_PARALLEL, else 2. Throws Error(kUsage) when that is no number from 1.
uint32_t num_parallel(const EvaluateOptions& options);

}  // namespace spnl::evaluator
