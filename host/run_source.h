#pragma once
#include <functional>
#include <string>

#include "args.h"
#include "spnl/reader.h"

namespace spnl::host {

/// The query that run's options name, read: -c, -f or `-`, with the bindings of -m, -p, -n, -t, -l,
/// ... and --set. Throws Error(kUsage) for the options and Error(kBadQuery) for the query.
/// `on_note` gets a line for each reading that may surprise.
Query read_query(const Arguments& args, std::function<void(const std::string&)> on_note);

}  // namespace spnl::host
