#pragma once
#include <string>

#include "spnl/query.h"

namespace spnl::evaluator {

/// The content of a file as a user message. Blocks. Throws Error(kEvaluation, kUnsupported) with
/// `where`.
Query fetch(const Fetch& fetch, SourcePosition position, const std::string& where);

}  // namespace spnl::evaluator
