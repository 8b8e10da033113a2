#include "spnl/inspect.h"

#include <algorithm>
#include <vector>

#include "ir/traverse.h"

namespace spnl {
namespace {

/// Calls `visit` for each node, parents first, in constant stack.
template <class Q, class Visit>
void for_each_node(Q& root, Visit&& visit) {
  std::vector<Q*> open{&root};
  while (!open.empty()) {
    Q& query = *open.back();
    open.pop_back();
    visit(query);
    ir::for_each_child(query, [&](Q& child) { open.push_back(&child); });
  }
}

}  // namespace

bool retrieves(const Query& query) {
  bool found = false;
  for_each_node(query,
                [&](const Query& node) { found |= std::holds_alternative<Augment>(node.node); });
  return found;
}

Query with_plus_reversed(Query query) {
  for_each_node(query, [](Query& node) {
    if (auto* plus = std::get_if<Plus>(&node.node))
      std::reverse(plus->children.begin(), plus->children.end());
  });
  return query;
}

}  // namespace spnl
