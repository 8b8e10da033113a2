#include <algorithm>
#include <map>
#include <utility>

#include "ir/traverse.h"
#include "optimizer/algebra.h"
#include "optimizer/seeds.h"
#include "spnl/optimizer.h"

namespace spnl {
namespace {

/// Asks each model's backend once.
class Abilities {
 public:
  explicit Abilities(const CapabilitiesOf& capabilities) : capabilities_(capabilities) {}
  /// Nothing is known of a model that is not named: it neither has nor lacks an ability.
  bool has(const std::string& model, std::string_view ability) {
    return !model.empty() && knows(model, ability);
  }
  bool lacks(const std::string& model, std::string_view ability) {
    return !model.empty() && !knows(model, ability);
  }

 private:
  bool knows(const std::string& model, std::string_view ability) {
    auto found = known_.find(model);
    if (found == known_.end()) found = known_.emplace(model, capabilities_(model)).first;
    return std::find(found->second.begin(), found->second.end(), ability) != found->second.end();
  }

  const CapabilitiesOf& capabilities_;
  std::map<std::string, std::vector<std::string>> known_;
};

/// Same model and sampling.
bool same_settings(const Generate& a, const Generate& b) {
  return Query{Map{a.model, a.sampling, {}}, {}} == Query{Map{b.model, b.sampling, {}}, {}};
}

/// Rule 6.
void form_map(Query& query, Abilities& abilities) {
  const Plus* plus = std::get_if<Plus>(&query.node);
  if (plus == nullptr || plus->children.size() < 2) return;
  const Generate* first = std::get_if<Generate>(&plus->children[0].node);
  if (first == nullptr || !abilities.has(first->model, "bulk_map")) return;
  Map map{first->model, first->sampling, {}};
  for (const Query& child : plus->children) {
    const Generate* one = std::get_if<Generate>(&child.node);
    if (one == nullptr || !same_settings(*one, *first)) return;
    const User* user = std::get_if<User>(&one->input->node);
    if (user == nullptr) return;
    map.inputs.push_back(user->text);
  }
  query.node = std::move(map);
}

constexpr size_t kLargestUnrolled = 100'000;  ///< nodes; repeats in repeats multiply

bool too_large(const Query& query, size_t copies) {
  size_t nodes = 0;
  std::vector<const Query*> open{&query};
  for (; nodes < open.size() && nodes * copies <= kLargestUnrolled; ++nodes)
    ir::for_each_child(*open[nodes], [&](const Query& child) { open.push_back(&child); });
  return nodes * copies > kLargestUnrolled;
}

/// Rule 8, for a repeat: its samples differ by their seeds alone.
void unroll_repeat(Query& query, Abilities& abilities) {
  const Repeat* repeat = std::get_if<Repeat>(&query.node);
  if (repeat == nullptr || !abilities.lacks(repeat->generate.model, "bulk_repeat") ||
      too_large(query, repeat->n))
    return;
  Plus plus;
  for (uint32_t i = 0; i < repeat->n; ++i) {
    Generate one = repeat->generate;
    if (one.sampling.seed) one.sampling.seed = seeds::of_sample(*one.sampling.seed, i);
    plus.children.push_back({std::move(one), query.position});
  }
  query.node = std::move(plus);
}

/// Rule 8, for a map.
void unroll_map(Query& query, Abilities& abilities) {
  const Map* map = std::get_if<Map>(&query.node);
  if (map == nullptr || !abilities.lacks(map->model, "bulk_map")) return;
  Plus plus;
  for (const std::string& input : map->inputs) {
    Query message{User{input}, query.position};
    algebra::simplify_node(message);
    plus.children.push_back(
        {Generate{map->model, map->sampling, QueryBox(std::move(message))}, query.position});
  }
  query.node = std::move(plus);
}

}  // namespace

namespace {

struct Place {
  Query* query;
  size_t parent;
  bool last;            ///< child of its parent
  bool no_map = false;  ///< a plus in which a plus is that is no map, so neither is this
};

/// Whether the list may be left to its parent. A plus only when it will be no map by itself, for
/// the maps are made from the inside out.
bool left_to_parent(const Place& place, const Query& parent) {
  return algebra::joins(parent, *place.query, place.last) &&
         (place.no_map || !std::holds_alternative<Plus>(parent.node));
}

bool is_no_map(const Query& query) {
  const Plus* plus = std::get_if<Plus>(&query.node);
  return plus != nullptr && plus->children.size() > 1;
}

}  // namespace

Query simplify(Query query, const CapabilitiesOf& capabilities) {
  // Parents before children; walked from the end, each node finds its children simplified. No rule
  // makes something of a node that another rule would rewrite below it, so one walk is enough.
  std::vector<Place> places{{&query, 0, true}};
  for (size_t i = 0; i < places.size(); ++i) {
    if (std::holds_alternative<Augment>(places[i].query->node)) continue;
    const size_t first = places.size();
    ir::for_each_child(*places[i].query, [&](Query& child) {
      places.push_back({&child, i, false});
    });
    if (places.size() > first) places.back().last = true;
  }
  Abilities abilities(capabilities);
  for (size_t i = places.size(); i-- > 0;) {
    Query& at = *places[i].query;
    Place& parent = places[places[i].parent];
    unroll_repeat(at, abilities);
    unroll_map(at, abilities);
    const bool left = i > 0 && left_to_parent(places[i], *parent.query);
    algebra::simplify_node(at, left);
    if (!left) form_map(at, abilities);
    if (left || is_no_map(at)) parent.no_map = true;
  }
  return query;
}

}  // namespace spnl
