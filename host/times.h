#pragma once
#include <optional>
#include <string>
#include <vector>

#include "spnl/backends.h"

namespace spnl::host {

struct NodeTimes {
  std::string node, model;
  std::vector<Completion> samples;
};

/// The table of --time, one line per sample: tokens in, cached, computed and out, time to the first
/// token and between tokens, prefill and decode rates, time in all; then means, and the sums over
/// `seconds`, the time of the whole run, where there is one. `fragments`: with a line for each
/// independent part of a prompt whose backend counts them.
std::string times_table(const std::vector<NodeTimes>& nodes, std::optional<double> seconds = {},
                        bool fragments = false);

}  // namespace spnl::host
