#include "optimizer/preview.h"

#include "ir/traverse.h"
#include "util/text.h"

namespace spnl {
namespace {

constexpr size_t kLongest = 240, kLongestMessage = 60;

/// What a node adds to the prompt by itself; empty: what its children add.
std::string piece(const NodeTable& table, uint32_t at) {
  return std::visit(
      [&](const auto& node) -> std::string {
        using T = std::remove_cvref_t<decltype(node)>;
        if constexpr (ir::is_message<T>) {
          if (node.text.empty()) return "";
          const char* role = ir::is_any_of<T, User>     ? "user "
                             : ir::is_any_of<T, System> ? "system "
                                                        : "assistant ";
          return role + text::quote(node.text, kLongestMessage);
        } else if constexpr (ir::is_any_of<T, Generate, Repeat, Map>) {
          return "(output of node " + table.path(at) + ")";
        } else if constexpr (ir::is_any_of<T, Ask>) {
          return "(answer to " + text::quote(node.prompt, kLongestMessage) + ")";
        } else if constexpr (ir::is_any_of<T, Fetch>) {
          return "(content of " + text::quote(node.location, kLongestMessage) + ")";
        } else if constexpr (ir::is_any_of<T, Augment>) {
          return "(fragments of " + text::quote(node.document.name, kLongestMessage) + ")";
        }
        return "";
      },
      table.nodes[at].query->node);
}

bool adds_nothing(const Query& query) {
  return std::holds_alternative<Monad>(query.node) || std::holds_alternative<Print>(query.node);
}

}  // namespace

std::string preview_prompt(const NodeTable& table, GenerateUnit unit) {
  const NodeTable::Node& root = table.nodes[unit.node];
  if (const Map* map = std::get_if<Map>(&root.query->node))
    return "user " + text::quote(map->inputs[unit.input], kLongestMessage);
  std::string out;
  std::vector<uint32_t> open{root.first_child};
  while (!open.empty()) {
    const uint32_t at = open.back();
    open.pop_back();
    if (adds_nothing(*table.nodes[at].query)) continue;
    const std::string text = piece(table, at);
    if (!text.empty()) {
      if (out.size() + text.size() > kLongest) return out + " ...";
      out += (out.empty() ? "" : ", ") + text;
      continue;
    }
    const NodeTable::Node& node = table.nodes[at];
    for (uint32_t i = node.child_count; i-- > 0;) open.push_back(node.first_child + i);
  }
  return out;
}

}  // namespace spnl
