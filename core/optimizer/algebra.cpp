#include "optimizer/algebra.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "ir/traverse.h"

namespace spnl::algebra {
namespace {

template <class Kind>
bool is(const Query& query) {
  return std::holds_alternative<Kind>(query.node);
}

void vanish(Query& query) { query.node = Seq{}; }

template <class Kind>
void become(Query& query, QueryList children) {
  Kind node;
  node.children = std::move(children);
  query.node = std::move(node);
}

/// A list of one becomes its child, of none nothing.
void open_short(Query& query, QueryList& children) {
  if (children.empty()) return vanish(query);
  if (children.size() > 1) return;
  Query only = std::move(children[0]);
  query = std::move(only);
}

/// Replaces each child of kind `Kind` by its own children, and theirs.
template <class Kind>
void splice(QueryList& children) {
  if (std::none_of(children.begin(), children.end(), is<Kind>)) return;
  QueryList flat;
  std::vector<std::pair<QueryList, size_t>> open;
  open.emplace_back(std::move(children), 0);
  while (!open.empty()) {
    auto& [list, next] = open.back();
    if (next == list.size()) {
      open.pop_back();
      continue;
    }
    Query& child = list[next++];
    if (Kind* inner = std::get_if<Kind>(&child.node)) {
      QueryList deeper = std::move(inner->children);
      open.emplace_back(std::move(deeper), 0);
    } else {
      flat.push_back(std::move(child));
    }
  }
  children = std::move(flat);
}

bool may_open_in_plus(const Query& child) {
  return is<Monad>(child) || is<Print>(child) || is<Plus>(child);
}

void simplify_plus(Query& query, QueryList& children, bool parent_joins) {
  for (Query& child : children)  // rule 5
    if (Seq* seq = std::get_if<Seq>(&child.node);
        seq != nullptr &&
        std::all_of(seq->children.begin(), seq->children.end(), may_open_in_plus)) {
      QueryList inner = std::move(seq->children);
      splice<Plus>(inner);
      become<Plus>(child, std::move(inner));
    }
  if (parent_joins) return;
  splice<Plus>(children);
  if (children.empty()) vanish(query);
}

void simplify_par(Query& query, QueryList& children) {
  if (children.size() < 2) return open_short(query, children);
  if (!std::all_of(children.begin(), children.end(), is<Plus>)) return;
  QueryList all = std::move(children);
  splice<Plus>(all);
  become<Plus>(query, std::move(all));
}

void simplify_cross(QueryList& children) {
  while (!children.empty() && is<Cross>(children.back())) {
    QueryList inner = std::move(std::get<Cross>(children.back().node).children);
    children.pop_back();
    std::move(inner.begin(), inner.end(), std::back_inserter(children));
  }
}

}  // namespace

bool is_nothing(const Query& query) {
  const Seq* seq = std::get_if<Seq>(&query.node);
  return seq != nullptr && seq->children.empty();
}

bool joins(const Query& parent, const Query& child, bool last) {
  return (is<Seq>(parent) && is<Seq>(child)) || (is<Plus>(parent) && is<Plus>(child)) ||
         (is<Cross>(parent) && is<Cross>(child) && last);
}

void simplify_node(Query& query, bool parent_joins) {
  if (QueryList* children = ir::list_of(query)) {
    std::erase_if(static_cast<std::vector<Query>&>(*children), is_nothing);
    if (is<Plus>(query)) {
      simplify_plus(query, *children, parent_joins);
    } else if (is<Par>(query)) {
      simplify_par(query, *children);
    } else if (parent_joins) {
      return;
    } else if (is<Seq>(query)) {
      splice<Seq>(*children);
      open_short(query, *children);
    } else {
      simplify_cross(*children);
    }
    return;
  }
  const bool empty = std::visit(
      [](const auto& node) {
        if constexpr (ir::is_message<std::remove_cvref_t<decltype(node)>>)
          return node.text.empty();
        else
          return false;
      },
      query.node);
  if (empty) vanish(query);
}

}  // namespace spnl::algebra
