#pragma once
#include <string>

#include "query_output.h"
#include "spnl/optimizer.h"

namespace spnl::host {

/// The planned query in `form` and what will be batched, shared and run in parallel: as comments
/// after it where the form has comments, as members beside it in JSON.
std::string plan_text(const QueryPlan& plan, QueryForm form);

}  // namespace spnl::host
