#pragma once
#include <functional>
#include <string>
#include <vector>

#include "args.h"
#include "spnl/query.h"

namespace spnl::host {

/// The options that name a query and fill its symbols, for every command that takes one.
std::vector<OptionSpec> query_options();

/// The query that these options name, read: -c, -f, -b or `-`, with the bindings of -m, -p, -n, -t,
/// -l, ... and --set. Throws Error(kUsage) for the options and Error(kBadQuery) for the query.
/// `on_note` gets a line for each reading that may surprise.
Query query_from_options(const Arguments& args, std::function<void(const std::string&)> on_note);

}  // namespace spnl::host
