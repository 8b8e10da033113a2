#include "optimizer/stages.h"

#include <algorithm>

namespace spnl {

std::vector<uint32_t> readers(const NodeTable& table) {
  std::vector<uint32_t> all(table.nodes.size(), kNoReader);
  for (uint32_t i = 1; i < all.size(); ++i) {
    const uint32_t parent = table.nodes[i].parent;
    const Query& query = *table.nodes[parent].query;
    if (model_use(query))
      all[i] = parent;
    else if (!std::holds_alternative<Monad>(query.node))
      all[i] = all[parent];
  }
  return all;
}

std::vector<uint32_t> stages(const NodeTable& table) {
  const size_t count = table.nodes.size();
  const std::vector<bool> has_monad = find_monads(table);
  std::vector<uint32_t> lasts(count, 0), begins(count, 0);
  for (size_t i = count; i-- > 0;) {
    const NodeTable::Node& node = table.nodes[i];
    uint32_t begin = 0;
    for (uint32_t c = node.first_child; c < node.first_child + node.child_count; ++c) {
      begins[c] = begin;
      lasts[i] = std::max(lasts[i], begin + lasts[c]);
      if (has_monad[c] && in_order(*node.query)) begin += lasts[c];
    }
    if (model_use(*node.query)) ++lasts[i];
  }
  std::vector<uint32_t> all(count, 0);
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) begins[i] += begins[table.nodes[i].parent];
    if (lasts[i] > 0) all[i] = begins[i] + lasts[i] - 1;
  }
  return all;
}

}  // namespace spnl
