#include "evaluator/results.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "ir/traverse.h"
#include "spnl/error.h"
#include "spnl/evaluator.h"

namespace spnl::evaluator {
namespace {

constexpr size_t kLargestZip = 1'000'000;

template <class Kind>
Kind* as(Query& query) {
  return std::get_if<Kind>(&query.node);
}

/// Replaces each child of kind `Kind` by its own children. A first child gives its list, so that
/// long chains do not copy what they gathered again and again.
template <class Kind>
void splice(QueryList& children) {
  if (std::none_of(children.begin(), children.end(),
                   [](Query& child) { return as<Kind>(child) != nullptr; }))
    return;
  QueryList flat;
  for (Query& child : children) {
    Kind* inner = as<Kind>(child);
    if (inner == nullptr)
      flat.push_back(std::move(child));
    else if (flat.empty())
      flat = std::move(inner->children);
    else
      std::move(inner->children.begin(), inner->children.end(), std::back_inserter(flat));
  }
  children = std::move(flat);
}

bool only_plus(const QueryList& children) {
  return std::all_of(children.begin(), children.end(),
                     [](const Query& child) { return std::holds_alternative<Plus>(child.node); });
}

template <class Kind>
std::optional<Query> several_or_one(QueryList children, SourcePosition position) {
  if (children.empty()) return std::nullopt;
  if (children.size() == 1) return std::move(children[0]);
  Kind node;
  node.children = std::move(children);
  return Query{std::move(node), position};
}

std::optional<Query> join_plus(QueryList results, SourcePosition position) {
  for (Query& child : results)  // rule 5: a seq of nothing but plus nodes says no more than they do
    if (Seq* seq = as<Seq>(child); seq != nullptr && only_plus(seq->children)) {
      Plus plus;
      plus.children = std::move(seq->children);
      splice<Plus>(plus.children);
      child.node = std::move(plus);
    }
  splice<Plus>(results);
  return several_or_one<Plus>(std::move(results), position);
}

}  // namespace

std::optional<Query> join(const Query& node, QueryList results) {
  const SourcePosition position = node.position;
  if (std::holds_alternative<Seq>(node.node)) {
    splice<Seq>(results);
    return several_or_one<Seq>(std::move(results), position);
  }
  if (std::holds_alternative<Plus>(node.node)) return join_plus(std::move(results), position);
  if (std::holds_alternative<Par>(node.node)) {
    if (results.size() > 1 && only_plus(results)) return join_plus(std::move(results), position);
    return several_or_one<Par>(std::move(results), position);
  }
  if (results.empty()) return std::nullopt;
  if (Cross* last = as<Cross>(results.back())) {  // rule 7
    QueryList inner = std::move(last->children);
    results.pop_back();
    std::move(inner.begin(), inner.end(), std::back_inserter(results));
  }
  Cross cross;
  cross.children = std::move(results);
  return Query{std::move(cross), position};
}

std::optional<Query> message(Query query) {
  const bool empty = std::visit(
      [](const auto& node) {
        if constexpr (ir::is_message<std::remove_cvref_t<decltype(node)>>)
          return node.text.empty();
        else
          return false;
      },
      query.node);
  if (empty) return std::nullopt;
  return query;
}

std::optional<Query> zip(std::optional<Query> first, std::optional<Query> second,
                         SourcePosition position, const std::string& where) {
  if (!second || !first) return second;
  QueryList* list = ir::list_of(*second);
  QueryList out;
  if (list == nullptr) {
    out.push_back(std::move(*first));
    out.push_back(std::move(*second));
    return join({Seq{}, position}, std::move(out));
  }
  Plus* plus = as<Plus>(*first);
  // Each zip around a zip doubles the list, so a short query could fill any memory.
  if (list->size() * (1 + (plus == nullptr ? 1 : plus->children.size())) > kLargestZip)
    throw Error(ErrorCode::kEvaluation,
                "zip yields more than " + std::to_string(kLargestZip) + " messages", where);
  if (plus != nullptr) {
    for (Query& element : *list) {
      Plus copy = *plus;
      copy.children.push_back(std::move(element));
      out.push_back({std::move(copy), position});
    }
  } else if (ir::list_of(*first) == nullptr) {
    for (Query& element : *list) {
      out.push_back(*first);
      out.push_back(std::move(element));
    }
  } else {
    throw Error(ErrorCode::kEvaluation,
                "the first part of zip is a list, but only a message or a plus can be zipped",
                where);
  }
  Query kind = std::move(*second);
  return join(kind, std::move(out));
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
