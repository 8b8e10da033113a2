#pragma once
#include <string>

#include "spnl/query.h"

namespace spnl::host {

/// A query in the canonical JSON of the language (specification, section 2).
std::string query_json(const Query& query);

}  // namespace spnl::host
