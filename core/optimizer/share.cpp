#include "optimizer/share.h"

#include <functional>
#include <string_view>
#include <unordered_map>

#include "ir/traverse.h"
#include "optimizer/sampling.h"
#include "optimizer/seeds.h"

namespace spnl {
namespace {

uint64_t hash_text(uint64_t hash, std::string_view text) {
  return seeds::mix(hash, std::hash<std::string_view>{}(text));
}

uint64_t hash_settings(uint64_t hash, const std::string& model, const Sampling& sampling) {
  hash = hash_text(hash, model);
  hash = seeds::mix(hash, sampling.seed.value_or(0));
  hash = seeds::mix(hash, sampling.max_tokens.value_or(0));
  return seeds::mix(hash, std::hash<double>{}(sampling.temperature.value_or(0)));
}

/// Of what tells nodes of a kind apart in practice; the comparison that follows sees the rest.
uint64_t hash_node(const Query& query) {
  const uint64_t kind = seeds::mix(0, query.node.index());
  return std::visit(
      [&](const auto& node) -> uint64_t {
        using T = std::remove_cvref_t<decltype(node)>;
        if constexpr (ir::is_message<T>) return hash_text(kind, node.text);
        if constexpr (ir::is_any_of<T, Generate>)
          return hash_settings(kind, node.model, node.sampling);
        if constexpr (ir::is_any_of<T, Repeat>)
          return hash_settings(kind, node.generate.model, node.generate.sampling);
        if constexpr (ir::is_any_of<T, Fetch>) return hash_text(kind, node.location);
        if constexpr (ir::is_any_of<T, Ask>) return hash_text(kind, node.prompt);
        return kind;
      },
      query.node);
}

/// For each node: whether evaluating it twice shows nothing and yields the same, and a hash that is
/// equal for equal trees.
struct Summary {
  std::vector<bool> repeatable;
  std::vector<uint64_t> hashes;
};

Summary summarise(const NodeTable& table, const EvaluateOptions& options) {
  const size_t count = table.nodes.size();
  Summary summary{std::vector<bool>(count, true), std::vector<uint64_t>(count)};
  for (size_t i = count; i-- > 0;) {  // children first
    const NodeTable::Node& node = table.nodes[i];
    uint64_t hash = hash_node(*node.query);
    bool repeatable = !std::holds_alternative<Print>(node.query->node) &&
                      !std::holds_alternative<Augment>(node.query->node);
    if (const auto use = model_use(*node.query))
      repeatable = repeats_exactly(effective_sampling(*use->sampling, options));
    for (uint32_t c = node.first_child; c < node.first_child + node.child_count; ++c) {
      repeatable = repeatable && summary.repeatable[c];
      hash = seeds::mix(hash, summary.hashes[c]);
    }
    summary.repeatable[i] = repeatable;
    summary.hashes[i] = hash;
  }
  return summary;
}

double effective_temperature(const ModelUse& use, const EvaluateOptions& options) {
  return effective_sampling(*use.sampling, options).temperature.value_or(0);
}

/// An input of a map is a generate of a user message.
Query as_generate(const Map& map, uint32_t input) {
  return {Generate{map.model, map.sampling, QueryBox({User{map.inputs[input]}, {}})}, {}};
}

class Finder {
 public:
  Finder(const NodeTable& table, const Summary& summary) : table_(table), summary_(summary) {}

  /// True when the generate is served by an earlier one.
  bool visit(uint32_t node) {
    const Query& query = *table_.nodes[node].query;
    if (!model_use(query) || !summary_.repeatable[node]) return false;
    const Map* map = std::get_if<Map>(&query.node);
    if (map == nullptr) return look_up({node, 0}, summary_.hashes[node], query);
    for (uint32_t i = 0; i < map->inputs.size(); ++i) {
      const Query one = as_generate(*map, i);
      const Query& message = *std::get<Generate>(one.node).input;
      look_up({node, i}, seeds::mix(hash_node(one), hash_node(message)), one);
    }
    return false;
  }

  std::map<GenerateUnit, GenerateUnit> shared;

 private:
  bool look_up(GenerateUnit unit, uint64_t hash, const Query& query) {
    const auto [from, to] = seen_.equal_range(hash);
    for (auto at = from; at != to; ++at)
      if (equal(at->second, query)) return shared.emplace(unit, at->second), true;
    seen_.emplace(hash, unit);
    return false;
  }

  bool equal(GenerateUnit unit, const Query& query) const {
    const Query& other = *table_.nodes[unit.node].query;
    const Map* map = std::get_if<Map>(&other.node);
    return map != nullptr ? as_generate(*map, unit.input) == query : other == query;
  }

  const NodeTable& table_;
  const Summary& summary_;
  std::unordered_multimap<uint64_t, GenerateUnit> seen_;
};

}  // namespace

Sharing find_shared(const NodeTable& table, const EvaluateOptions& options) {
  const Summary summary = summarise(table, options);
  Finder finder(table, summary);
  std::set<uint32_t> alike;
  std::vector<uint32_t> open{0};
  while (!open.empty()) {
    const uint32_t at = open.back();
    open.pop_back();
    if (finder.visit(at)) continue;
    const NodeTable::Node& node = table.nodes[at];
    if (const auto use = model_use(*node.query);
        use && use->samples > 1 && effective_temperature(*use, options) == 0)
      alike.insert(at);
    for (uint32_t i = node.child_count; i-- > 0;) open.push_back(node.first_child + i);
  }
  return {std::move(finder.shared), std::move(alike)};
}

std::vector<std::string> sharing_notes(const NodeTable& table, const Sharing& sharing) {
  constexpr size_t kShown = 8;
  std::map<GenerateUnit, std::vector<GenerateUnit>> served;
  for (const auto& [unit, by] : sharing.served_by) served[by].push_back(unit);
  std::vector<std::string> notes;
  for (const auto& [by, units] : served) {
    std::string text = units.size() == 1 ? "node " : "nodes ";
    for (size_t i = 0; i < units.size() && i < kShown; ++i)
      text += (i > 0 ? ", " : "") + table.path(units[i].node, units[i].input);
    if (units.size() > kShown) text += " and " + std::to_string(units.size() - kShown) + " more";
    notes.push_back(text + (units.size() == 1 ? " asks" : " ask") + " the same as node " +
                    table.path(by.node, by.input) + ": generated once");
  }
  for (const uint32_t node : sharing.alike)
    notes.push_back("the " + std::to_string(model_use(*table.nodes[node].query)->samples) +
                    " samples of node " + table.path(node) +
                    " are alike at temperature 0: generated once");
  return notes;
}

}  // namespace spnl
