#include "evaluator/prompt.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "ir/traverse.h"

namespace spnl::evaluator {
namespace {

/// Groups inside groups beyond this are written out in order: independence only saves work, and a
/// prompt must stay shallow enough for everybody who walks it.
constexpr size_t kDeepestGroup = 32;

Prompt leaf(Role role, const std::string& text, uint64_t lineage = 0) {
  Prompt prompt;
  prompt.kind = Prompt::Kind::kMessage;
  prompt.role = role;
  prompt.text = text;
  prompt.lineage = lineage;
  return prompt;
}

std::optional<Prompt> message(const Query& query) {
  if (const auto* user = std::get_if<User>(&query.node)) return leaf(Role::kUser, user->text);
  if (const auto* system = std::get_if<System>(&query.node))
    return leaf(Role::kSystem, system->text);
  if (const auto* assistant = std::get_if<Assistant>(&query.node))
    return leaf(Role::kAssistant, assistant->text, assistant->lineage);
  return std::nullopt;
}

Prompt group(Prompt::Kind kind) {
  Prompt prompt;
  prompt.kind = kind;
  return prompt;
}

/// A list being written into `target`.
struct Open {
  const Query *next, *end;
  Prompt* target;
  bool owns_target;  ///< the group was made for this list
  size_t depth;      ///< groups around it
};

}  // namespace

Prompt build_prompt(const Query& input) {
  Prompt root = group(Prompt::Kind::kOrdered);
  // Depth first: a group's parent gets no further child before the group is complete, so pointers
  // stay valid.
  std::vector<Open> open{{&input, &input + 1, &root, false, 0}};
  std::vector<Prompt*> parents;  // of the targets owned
  while (!open.empty()) {
    Open& at = open.back();
    if (at.next == at.end) {
      if (at.owns_target) {
        if (at.target->children.empty()) parents.back()->children.pop_back();
        parents.pop_back();
      }
      open.pop_back();
      continue;
    }
    const Query& query = *at.next++;
    if (auto one = message(query)) {
      at.target->children.push_back(std::move(*one));
      continue;
    }
    const QueryList* list = ir::list_of(query);
    if (list == nullptr) continue;
    const bool plus = std::holds_alternative<Plus>(query.node);
    const bool inside_plus = at.target->kind == Prompt::Kind::kIndependent;
    Open inner{list->data(), list->data() + list->size(), at.target, false, at.depth};
    if (plus != inside_plus && (inside_plus || at.depth < kDeepestGroup)) {
      at.target->children.push_back(
          group(plus ? Prompt::Kind::kIndependent : Prompt::Kind::kOrdered));
      parents.push_back(at.target);
      inner.target = &at.target->children.back();
      inner.owns_target = true;
      ++inner.depth;
    }
    open.push_back(inner);
  }
  return root;
}

bool has_independent(const Prompt& prompt) {
  return prompt.kind == Prompt::Kind::kIndependent ||
         std::any_of(prompt.children.begin(), prompt.children.end(), has_independent);
}

Prompt user_prompt(const std::string& text) {
  Prompt root = group(Prompt::Kind::kOrdered);
  if (!text.empty()) root.children.push_back(leaf(Role::kUser, text));
  return root;
}

}  // namespace spnl::evaluator
