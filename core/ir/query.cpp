#include "spnl/query.h"

#include <new>
#include <utility>

#include "ir/traverse.h"

namespace spnl {
namespace {

using ir::for_each_child;

bool has_children(const Query& query) {
  bool found = false;
  for_each_child(query, [&](const Query&) { found = true; });
  return found;
}

/// Moves the inner nodes among the children of `query` to `pending`; what is left behind owns no
/// further trees.
void take_children(Query& query, std::vector<Query>& pending) {
  for_each_child(query, [&](Query& child) {
    if (has_children(child)) pending.push_back(std::move(child));
  });
}

/// Empties everything below `query` with a list instead of recursion. Without memory for the list
/// the rest is left to the recursive destructors, which is still correct for all but absurd depths.
void dismantle(Query& query) noexcept {
  try {
    std::vector<Query> pending;
    take_children(query, pending);
    while (!pending.empty()) {
      Query next = std::move(pending.back());
      pending.pop_back();
      take_children(next, pending);
    }
  } catch (const std::bad_alloc&) {
  }
}

/// A copy of the node with default children in place of its own.
Query copy_node(const Query& query) {
  return std::visit(
      [&](const auto& node) -> Query {
        using T = std::remove_cvref_t<decltype(node)>;
        const auto empty = [] { return QueryBox(Query{}); };
        if constexpr (ir::is_list<T>) {
          T copy;
          copy.children.resize(node.children.size());
          return {std::move(copy), query.position};
        } else if constexpr (ir::is_any_of<T, Generate>) {
          return {Generate{node.model, node.sampling, empty()}, query.position};
        } else if constexpr (ir::is_any_of<T, Repeat>) {
          return {Repeat{node.n, Generate{node.generate.model, node.generate.sampling, empty()}},
                  query.position};
        } else if constexpr (ir::is_any_of<T, Zip>) {
          return {Zip{empty(), empty()}, query.position};
        } else if constexpr (ir::is_any_of<T, Monad>) {
          return {Monad{empty()}, query.position};
        } else if constexpr (ir::is_any_of<T, Augment>) {
          return {Augment{node.embedding_model, empty(), node.document}, query.position};
        } else {
          return {node, query.position};
        }
      },
      query.node);
}

/// A copy of the whole tree. Moved-from boxes inside become empty messages.
Query copy_tree(const Query& source) {
  Query root = copy_node(source);
  std::vector<std::pair<const Query*, Query*>> open{{&source, &root}};
  while (!open.empty()) {
    const auto [from, to] = open.back();
    open.pop_back();
    std::vector<Query*> places;
    for_each_child(*to, [&](Query& place) { places.push_back(&place); });
    size_t i = 0;
    for_each_child(*from, [&](const Query& child) {
      *places[i] = copy_node(child);
      if (has_children(child)) open.emplace_back(&child, places[i]);
      ++i;
    });
  }
  return root;
}

bool equal(const Sampling& a, const Sampling& b) {
  return a.max_tokens == b.max_tokens && a.temperature == b.temperature && a.seed == b.seed &&
         a.top_k == b.top_k && a.top_p == b.top_p && a.min_p == b.min_p &&
         a.repeat_penalty == b.repeat_penalty && a.stop == b.stop && a.spans == b.spans;
}

/// Equal but for children; lists must be equally long.
bool equal_node(const Query& left, const Query& right) {
  if (left.node.index() != right.node.index()) return false;
  return std::visit(
      [&](const auto& a) {
        using T = std::remove_cvref_t<decltype(a)>;
        const T& b = std::get<T>(right.node);
        if constexpr (ir::is_list<T>) {
          return a.children.size() == b.children.size();
        } else if constexpr (ir::is_any_of<T, User, System, Print>) {
          return a.text == b.text;
        } else if constexpr (ir::is_any_of<T, Assistant>) {
          return a.text == b.text && a.lineage == b.lineage;
        } else if constexpr (ir::is_any_of<T, Generate>) {
          return a.model == b.model && equal(a.sampling, b.sampling);
        } else if constexpr (ir::is_any_of<T, Repeat>) {
          return a.n == b.n && a.generate.model == b.generate.model &&
                 equal(a.generate.sampling, b.generate.sampling);
        } else if constexpr (ir::is_any_of<T, Map>) {
          return a.model == b.model && equal(a.sampling, b.sampling) && a.inputs == b.inputs;
        } else if constexpr (ir::is_any_of<T, Augment>) {
          return a.embedding_model == b.embedding_model && a.document.name == b.document.name &&
                 a.document.content == b.document.content;
        } else if constexpr (ir::is_any_of<T, Fetch>) {
          return a == b;
        } else if constexpr (ir::is_any_of<T, Ask>) {
          return a.prompt == b.prompt;
        } else {
          return true;
        }
      },
      left.node);
}

}  // namespace

QueryList::QueryList() = default;
QueryList::QueryList(std::initializer_list<Query> queries) {
  reserve(queries.size());
  for (const Query& query : queries) push_back(copy_tree(query));
}
QueryList::QueryList(const QueryList& other) : std::vector<Query>() {
  reserve(other.size());
  for (const Query& query : other) push_back(copy_tree(query));
}
QueryList::QueryList(QueryList&&) noexcept = default;
QueryList& QueryList::operator=(const QueryList& other) {
  if (this != &other) *this = QueryList(other);
  return *this;
}
QueryList& QueryList::operator=(QueryList&& other) noexcept {
  if (this == &other) return *this;
  QueryList old;
  old.swap(*this);  // dismantled on return, after the contents of `other`, which may lie inside,
                    // were taken
  swap(other);
  return *this;
}
QueryList::~QueryList() {
  for (Query& query : *this) dismantle(query);
}

QueryBox::QueryBox(Query query) : query_(std::make_unique<Query>(std::move(query))) {}
QueryBox::QueryBox(const QueryBox& other)
    : query_(other.query_ ? std::make_unique<Query>(copy_tree(*other.query_)) : nullptr) {}
QueryBox::QueryBox(QueryBox&&) noexcept = default;
QueryBox& QueryBox::operator=(const QueryBox& other) {
  if (this != &other) *this = QueryBox(other);
  return *this;
}
QueryBox& QueryBox::operator=(QueryBox&& other) noexcept {
  if (this == &other) return *this;
  QueryBox old(std::move(*this));
  query_ = std::move(other.query_);
  return *this;
}
QueryBox::~QueryBox() {
  if (query_) dismantle(*query_);
}

bool is_span_mode(std::string_view mode) {
  if (mode == "exact" || mode == "block" || mode == "blend") return true;
  return mode.starts_with("blend:") && mode.size() > 6 && mode.size() <= 15 &&
         mode.find_first_not_of("0123456789", 6) == std::string_view::npos;
}

bool operator==(const Query& a, const Query& b) {
  std::vector<std::pair<const Query*, const Query*>> open{{&a, &b}};
  std::vector<const Query*> left, right;
  while (!open.empty()) {
    const auto [x, y] = open.back();
    open.pop_back();
    if (!equal_node(*x, *y)) return false;
    left.clear(), right.clear();
    for_each_child(*x, [&](const Query& child) { left.push_back(&child); });
    for_each_child(*y, [&](const Query& child) { right.push_back(&child); });
    if (left.size() != right.size()) return false;
    for (size_t i = left.size(); i-- > 0;) open.emplace_back(left[i], right[i]);
  }
  return true;
}

}  // namespace spnl
