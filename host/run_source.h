#pragma once
#include <string>

#include "args.h"
#include "spnl/reader.h"

namespace spnl::host {

/// The query that run's options name, read: -c, -f or `-`, with the bindings of -m, -p, -n, -t, -l,
/// ... and --set. Throws Error(kUsage) for the options and Error(kBadQuery) for the query.
Query read_query(const Arguments& args);

}  // namespace spnl::host
