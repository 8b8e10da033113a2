#include "evaluator/results.h"

#include <string>

#include "ir/traverse.h"
#include "optimizer/algebra.h"
#include "spnl/error.h"
#include "spnl/evaluator.h"

namespace spnl::evaluator {
namespace {

constexpr size_t kLargestZip = 1'000'000;

std::optional<Query> unless_nothing(Query query) {
  if (algebra::is_nothing(query)) return std::nullopt;
  const Cross* cross = std::get_if<Cross>(&query.node);
  if (cross != nullptr && cross->children.empty()) return std::nullopt;
  return query;
}

/// Counts no further than `limit`.
size_t count_nodes(const Query& query, size_t limit) {
  size_t count = 0;
  std::vector<const Query*> open{&query};
  while (!open.empty() && count < limit) {
    const Query& next = *open.back();
    open.pop_back();
    ++count;
    ir::for_each_child(next, [&](const Query& child) { open.push_back(&child); });
  }
  return count;
}

/// A plus of one is its child where its mark has no meaning.
void unmark(Query& query) {
  Plus* plus = std::get_if<Plus>(&query.node);
  if (plus == nullptr || plus->children.size() != 1) return;
  Query only = std::move(plus->children[0]);
  query = std::move(only);
}

}  // namespace

std::optional<Query> join(const Query& node, QueryList results, bool parent_joins) {
  Query joined{Seq{}, node.position};
  std::visit(
      [&](const auto& list) {
        using T = std::remove_cvref_t<decltype(list)>;
        if constexpr (ir::is_list<T>) {
          T copy;
          copy.children = std::move(results);
          joined.node = std::move(copy);
        }
      },
      node.node);
  algebra::simplify_node(joined, parent_joins);
  return unless_nothing(std::move(joined));
}

std::optional<Query> message(Query query) {
  algebra::simplify_node(query);
  return unless_nothing(std::move(query));
}

std::optional<Query> zip(std::optional<Query> first, std::optional<Query> second,
                         SourcePosition position, const std::string& where) {
  if (!second || !first) return second;
  unmark(*first);
  unmark(*second);
  QueryList* list = ir::list_of(*second);
  QueryList out;
  if (list == nullptr) {
    out.push_back(std::move(*first));
    out.push_back(std::move(*second));
    return join({Seq{}, position}, std::move(out));
  }
  // Each zip around a zip doubles the list, so a short query could fill any memory.
  if (list->size() * (1 + count_nodes(*first, kLargestZip)) > kLargestZip)
    throw Error(ErrorCode::kEvaluation,
                "zip yields more than " + std::to_string(kLargestZip) + " messages", where);
  const Plus* plus = std::get_if<Plus>(&first->node);
  for (Query& element : *list) {
    if (plus == nullptr) {
      out.push_back(*first);
      out.push_back(std::move(element));
      continue;
    }
    Plus copy = *plus;
    copy.children.push_back(std::move(element));
    Query marked{std::move(copy), position};
    algebra::simplify_node(marked);
    out.push_back(std::move(marked));
  }
  Query kind = std::move(*second);
  return join(kind, std::move(out));
}

Query as_shown(Query result) {
  std::vector<Query*> nodes{&result};
  for (size_t i = 0; i < nodes.size(); ++i)
    ir::for_each_child(*nodes[i], [&](Query& child) { nodes.push_back(&child); });
  for (size_t i = nodes.size(); i-- > 0;) {
    algebra::simplify_node(*nodes[i]);
    unmark(*nodes[i]);
  }
  return result;
}

}  // namespace spnl::evaluator

namespace spnl {
namespace {

bool vanishes(const Query& query) {
  return std::visit(
      [](const auto& node) {
        using T = std::remove_cvref_t<decltype(node)>;
        if constexpr (ir::is_message<T>)
          return node.text.empty();
        else
          return ir::is_any_of<T, Print, Monad>;
      },
      query.node);
}

}  // namespace

std::optional<std::string> streaming_node(const Query& query) {
  const Query* at = &query;
  std::string path;
  while (true) {
    if (std::holds_alternative<Generate>(at->node)) return path.empty() ? "root" : path;
    if (const auto* repeat = std::get_if<Repeat>(&at->node)) {
      if (repeat->n != 1) return std::nullopt;
      return path.empty() ? "root" : path;
    }
    if (const auto* map = std::get_if<Map>(&at->node)) {
      if (map->inputs.size() != 1) return std::nullopt;
      return path.empty() ? "0" : path + ".0";
    }
    const QueryList* list = ir::list_of(*at);
    if (list == nullptr) return std::nullopt;
    size_t found = list->size();
    for (size_t i = 0; i < list->size(); ++i) {
      if (vanishes((*list)[i])) continue;
      if (found != list->size()) return std::nullopt;
      found = i;
    }
    if (found == list->size()) return std::nullopt;
    path += (path.empty() ? "" : ".") + std::to_string(found);
    at = &(*list)[found];
  }
}

bool streams_as_result(const Query& query) { return streaming_node(query).has_value(); }

std::string result_text(const Query& result) {
  std::string text;
  bool any = false;
  std::vector<const Query*> open{&result};
  while (!open.empty()) {
    const Query& next = *open.back();
    open.pop_back();
    std::visit(
        [&](const auto& node) {
          if constexpr (ir::is_message<std::remove_cvref_t<decltype(node)>>) {
            if (any) text += '\n';
            text += node.text;
            any = true;
          }
        },
        next.node);
    std::vector<const Query*> children;
    ir::for_each_child(next, [&](const Query& child) { children.push_back(&child); });
    open.insert(open.end(), children.rbegin(), children.rend());
  }
  return text;
}

}  // namespace spnl
