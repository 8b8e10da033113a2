#pragma once
#include <string>

#include "run_observer.h"
#include "spnl/query.h"

namespace spnl::host {

/// Prints a result's text, or what is missing of it after what was streamed, and ends its line.
void show_result(const Query& result, const RunObserver& observer, Terminal& terminal);

/// A run as one JSON object: the result's tree and text, each generation with its ids, finish
/// reason and usage, and what failed.
std::string result_json(const Query& result, const RunObserver& observer, double seconds);

}  // namespace spnl::host
