#pragma once
#include <string>
#include <vector>

#include "spnl/backends.h"

namespace spnl::host {

struct NodeTimes {
  std::string node, model;
  std::vector<Completion> samples;
};

/// The table of --time, one line per sample: tokens in, cached and out, time to the first token,
/// time between tokens, prefill and decode rates.
std::string times_table(const std::vector<NodeTimes>& nodes);

}  // namespace spnl::host
