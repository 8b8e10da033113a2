#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "optimizer/node_table.h"
#include "spnl/backends.h"

namespace spnl::evaluator {

/// Which fragments (children of a plus) several generates of one model read, as far as the query as
/// written shows it, so that backends know what to keep.
class FragmentUses {
 public:
  /// `readers`: of `table` (optimizer/stages.h). `model_name`: of a generate.
  FragmentUses(const NodeTable& table, const std::vector<uint32_t>& readers,
               const std::function<const std::string&(uint32_t node)>& model_name);

  /// In the prompt of generate `node`: numbers the next use of each fragment and pins what has one.
  void mark(Prompt& prompt, uint32_t node) const;

 private:
  void mark_children(Prompt& group, uint32_t node) const;

  std::map<uint32_t, uint64_t> numbers_;         ///< of generates, in the plan's order, from 1
  std::map<uint32_t, uint64_t> models_;          ///< hash of each generate's model
  std::map<uint64_t, std::set<uint64_t>> uses_;  ///< numbers of generates, by fragment and model
};

}  // namespace spnl::evaluator
