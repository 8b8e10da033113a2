#pragma once
#include "spnl/query.h"

namespace spnl {

/// Whether any part of the query retrieves from documents (an augment).
bool retrieves(const Query& query);

/// The same query with the children of each plus in reverse order. They are independent, so only
/// the order of what is shown changes, and a backend that caches spans has nothing to compute anew.
Query with_plus_reversed(Query query);

}  // namespace spnl
