#include "optimizer/node_table.h"

#include <algorithm>

#include "ir/traverse.h"
#include "optimizer/seeds.h"

namespace spnl {

NodeTable::NodeTable(const Query& query) {
  nodes.push_back({});
  nodes[0].query = &query;
  for (uint32_t i = 0; i < nodes.size(); ++i) {
    const uint32_t first = static_cast<uint32_t>(nodes.size());
    uint32_t slot = 0;
    ir::for_each_child(*nodes[i].query, [&](const Query& child) {
      nodes.push_back({&child, i, slot, 0, 0, seeds::mix(nodes[i].hash, slot)});
      ++slot;
    });
    nodes[i].first_child = first;
    nodes[i].child_count = slot;
  }
}

std::string NodeTable::path(uint32_t node) const {
  if (node == 0) return "root";
  std::string text;  // from its end
  for (; node != 0; node = nodes[node].parent) {
    if (!text.empty()) text += '.';
    uint32_t slot = nodes[node].slot;
    do text += static_cast<char>('0' + slot % 10);
    while ((slot /= 10) > 0);
  }
  std::reverse(text.begin(), text.end());
  return text;
}

std::string NodeTable::path(uint32_t node, uint32_t input) const {
  if (!std::holds_alternative<Map>(nodes[node].query->node)) return path(node);
  return (node == 0 ? "" : path(node) + ".") + std::to_string(input);
}

std::string NodeTable::where(uint32_t node) const { return where_named(node, path(node)); }

std::string NodeTable::where(uint32_t node, uint32_t input) const {
  return where_named(node, path(node, input));
}

std::string NodeTable::where_named(uint32_t node, const std::string& name) const {
  const SourcePosition position = nodes[node].query->position;
  if (position.line == 0) return "node " + name;
  return "node " + name + ", line " + std::to_string(position.line) + ", column " +
         std::to_string(position.column);
}

std::optional<ModelUse> model_use(const Query& query) {
  if (const auto* generate = std::get_if<Generate>(&query.node))
    return ModelUse{&generate->model, &generate->sampling};
  if (const auto* repeat = std::get_if<Repeat>(&query.node))
    return ModelUse{&repeat->generate.model, &repeat->generate.sampling, repeat->n};
  if (const auto* map = std::get_if<Map>(&query.node))
    return ModelUse{&map->model, &map->sampling, 1, static_cast<uint32_t>(map->inputs.size()),
                    true};
  return std::nullopt;
}

bool in_order(const Query& query) {
  return std::holds_alternative<Seq>(query.node) || std::holds_alternative<Cross>(query.node);
}

std::vector<bool> find_monads(const NodeTable& table) {
  std::vector<bool> found(table.nodes.size());
  for (size_t i = found.size(); i-- > 0;) {  // children first
    if (std::holds_alternative<Monad>(table.nodes[i].query->node)) found[i] = true;
    if (found[i]) found[table.nodes[i].parent] = true;
  }
  return found;
}

}  // namespace spnl
