#pragma once
#include <compare>
#include <cstdint>
#include <map>
#include <vector>

#include "optimizer/node_table.h"
#include "spnl/evaluator.h"

namespace spnl {

/// A generate, a repeat (input 0) or one input of a map.
struct GenerateUnit {
  uint32_t node = 0, input = 0;
  auto operator<=>(const GenerateUnit&) const = default;
};

/// Which generates of a query must give what another gives: equal ones whose every generate is
/// greedy or has a seed of its own, and that show nothing. The first in reading order runs and
/// serves for the others. Nothing below a generate that is served appears.
std::map<GenerateUnit, GenerateUnit> find_shared(const NodeTable& table,
                                                 const EvaluateOptions& options);

}  // namespace spnl
