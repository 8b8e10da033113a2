#pragma once
#include "spnl/evaluator.h"

namespace spnl {

/// What a generate gives, else the host's flags, else the language's defaults. A seed only when one
/// is given.
Sampling effective_sampling(const Sampling& given, const EvaluateOptions& options);

/// True when every run of a generate with this effective sampling on one prompt gives one answer:
/// greedy, or with a seed of its own.
bool repeats_exactly(const Sampling& effective);

}  // namespace spnl
