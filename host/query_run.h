#pragma once
#include <vector>

#include "args.h"
#include "command.h"
#include "spnl/evaluator.h"

namespace spnl::host {

/// How the options want a query evaluated: its default model and sampling, seed, loading, and who
/// answers its questions. Borrows `args` and `terminal`.
EvaluateOptions evaluate_options(const Arguments& args, Terminal& terminal, std::stop_token stop);

/// The options of retrieval, which are checked but wait for a backend that retrieves.
std::vector<OptionSpec> retrieval_options();

/// Throws Error(kUsage) for values that make no sense; says which of these options change nothing
/// yet when `query` retrieves.
void check_retrieval_options(const Arguments& args, const Query& query, Terminal& terminal);

}  // namespace spnl::host
