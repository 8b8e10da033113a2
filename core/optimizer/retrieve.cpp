#include <algorithm>
#include <utility>
#include <vector>

#include "ir/traverse.h"
#include "spnl/optimizer.h"

namespace spnl {
namespace {

constexpr size_t kNone = SIZE_MAX;

struct Place {
  Query* query;
  size_t generate;  ///< index of the generate or repeat around it; kNone: none
};

const Generate* as_generate(const Query& query) {
  if (const auto* generate = std::get_if<Generate>(&query.node)) return generate;
  if (const auto* repeat = std::get_if<Repeat>(&query.node)) return &repeat->generate;
  return nullptr;
}

/// The system messages that stand in a prompt as it is written.
QueryList system_messages(const Query& input) {
  QueryList found;
  std::vector<const Query*> open{&input};
  while (!open.empty()) {
    const Query& query = *open.back();
    open.pop_back();
    if (std::holds_alternative<System>(query.node)) found.push_back(query);
    const QueryList* list = ir::list_of(query);
    if (list == nullptr) continue;
    for (size_t i = list->size(); i-- > 0;) open.push_back(&(*list)[i]);
  }
  return found;
}

/// A generate that fills the cache with a fragment as the prompt around it will have it.
Query prepare(const Generate& around, const Query& fragment, SourcePosition position) {
  Sampling sampling = around.sampling;
  sampling.max_tokens = 1;
  sampling.temperature = 0;
  QueryList input = system_messages(*around.input);
  input.push_back({Plus{{fragment}}, position});
  return {
      Generate{around.model, std::move(sampling), QueryBox({Cross{std::move(input)}, position})},
      position};
}

bool reuses_spans(const Generate& generate, const CapabilitiesOf& capabilities) {
  const auto abilities = capabilities(generate.model);
  return std::find(abilities.begin(), abilities.end(), "spans") != abilities.end();
}

}  // namespace

Query retrieve(Query query, const PassContext& context) {
  if (!context.fragments) return query;
  std::vector<Place> places{{&query, kNone}};
  for (size_t i = 0; i < places.size(); ++i) {
    const size_t around = as_generate(*places[i].query) != nullptr ? i : places[i].generate;
    ir::for_each_child(*places[i].query, [&](Query& child) { places.push_back({&child, around}); });
  }
  // From the end, so that what is inside the body of an augment is there when it is searched for.
  for (size_t i = places.size(); i-- > 0;) {
    Query& place = *places[i].query;
    const auto* augment = std::get_if<Augment>(&place.node);
    if (augment == nullptr) continue;
    QueryList fragments = context.fragments(*augment);
    const Generate* around =
        places[i].generate == kNone ? nullptr : as_generate(*places[places[i].generate].query);
    Seq both;
    if (around != nullptr && !fragments.empty() && reuses_spans(*around, context.capabilities)) {
      Plus prepares;
      for (const Query& fragment : fragments)
        prepares.children.push_back(prepare(*around, fragment, place.position));
      both.children.push_back(
          {Monad{QueryBox({std::move(prepares), place.position})}, place.position});
    }
    both.children.push_back({Plus{std::move(fragments)}, place.position});
    place.node = std::move(both);
  }
  return query;
}

}  // namespace spnl
