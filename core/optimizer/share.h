#pragma once
#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "optimizer/node_table.h"
#include "spnl/evaluator.h"

namespace spnl {

/// A generate, a repeat (input 0) or one input of a map.
struct GenerateUnit {
  uint32_t node = 0, input = 0;
  auto operator<=>(const GenerateUnit&) const = default;
};

/// Work that is saved because its outcome is known.
struct Sharing {
  /// Generates that must give what an earlier one gives: equal trees whose every generate is greedy
  /// or has a seed of its own, and that show nothing. The value is the first of them in reading
  /// order, which runs and serves for the others. Nothing below a generate that is served appears.
  std::map<GenerateUnit, GenerateUnit> served_by;
  std::set<uint32_t> alike;  ///< greedy repeats: one sample stands for all
};

Sharing find_shared(const NodeTable& table, const EvaluateOptions& options);

/// What a person is told about it, a line a generate that runs.
std::vector<std::string> sharing_notes(const NodeTable& table, const Sharing& sharing);

}  // namespace spnl
