#pragma once
#include <type_traits>
#include <variant>

#include "spnl/query.h"

/// One place that knows where each node keeps its children, so that walks over a tree can be loops.
namespace spnl::ir {

template <class T, class... Names>
inline constexpr bool is_any_of = (std::is_same_v<std::remove_cv_t<T>, Names> || ...);

template <class T>
inline constexpr bool is_list = is_any_of<T, Seq, Cross, Plus, Par>;

template <class T>
inline constexpr bool is_message = is_any_of<T, User, System, Assistant>;

/// Calls `visit(child)` for each child of `query`, in order. A moved-from box is no child.
template <class Q, class Visit>
void for_each_child(Q& query, Visit&& visit) {
  auto boxed = [&](auto& box) {
    if (box.operator->() != nullptr) visit(*box);
  };
  std::visit(
      [&](auto& node) {
        using T = std::remove_cvref_t<decltype(node)>;
        if constexpr (is_list<T>) {
          for (auto& child : node.children) visit(child);
        } else if constexpr (is_any_of<T, Generate>) {
          boxed(node.input);
        } else if constexpr (is_any_of<T, Repeat>) {
          boxed(node.generate.input);
        } else if constexpr (is_any_of<T, Zip>) {
          boxed(node.first), boxed(node.second);
        } else if constexpr (is_any_of<T, Monad>) {
          boxed(node.query);
        } else if constexpr (is_any_of<T, Augment>) {
          boxed(node.body);
        }
      },
      query.node);
}

/// The children if `query` is a seq, cross, plus or par, else null.
template <class Q>
auto* list_of(Q& query) {
  using List = std::conditional_t<std::is_const_v<Q>, const QueryList, QueryList>;
  return std::visit(
      [](auto& node) -> List* {
        if constexpr (is_list<std::remove_cvref_t<decltype(node)>>)
          return &node.children;
        else
          return nullptr;
      },
      query.node);
}

}  // namespace spnl::ir
