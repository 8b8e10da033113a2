#include "evaluator/fragment_uses.h"

#include <algorithm>
#include <string_view>

#include "evaluator/prompt.h"
#include "ir/traverse.h"
#include "optimizer/seeds.h"
#include "optimizer/stages.h"

namespace spnl::evaluator {
namespace {

/// Larger fragments are not looked for: nested ones would be walked again at every level.
constexpr uint32_t kMostNodes = 64;

uint64_t hash(std::string_view text) { return std::hash<std::string_view>()(text); }

/// Equal for fragments with the same messages in the same groups.
uint64_t content_key(const Prompt& prompt) {
  if (prompt.kind == Prompt::Kind::kOrdered && prompt.children.size() == 1)
    return content_key(prompt.children[0]);
  uint64_t key = seeds::mix(static_cast<uint64_t>(prompt.kind), static_cast<uint64_t>(prompt.role));
  key = seeds::mix(key, hash(prompt.text));
  for (const Prompt& child : prompt.children) key = seeds::mix(key, content_key(child));
  return key;
}

/// For each node how many nodes of messages and lists it is made of; more than kMostNodes when it
/// is larger or holds anything else.
std::vector<uint32_t> sizes_of_fixed(const NodeTable& table) {
  std::vector<uint32_t> sizes(table.nodes.size(), 1);
  for (size_t i = sizes.size(); i-- > 0;) {
    const NodeTable::Node& node = table.nodes[i];
    const bool message =
        std::visit([](const auto& it) { return ir::is_message<std::remove_cvref_t<decltype(it)>>; },
                   node.query->node);
    if (!message && ir::list_of(*node.query) == nullptr) sizes[i] = kMostNodes + 1;
    if (i > 0) {
      uint32_t& parent = sizes[node.parent];
      parent = std::min(parent + sizes[i], kMostNodes + 1);
    }
  }
  return sizes;
}

}  // namespace

FragmentUses::FragmentUses(const NodeTable& table, const std::vector<uint32_t>& readers,
                           const std::function<const std::string&(uint32_t)>& model_name) {
  std::vector<std::pair<uint32_t, uint32_t>> order;  // stage, node
  const std::vector<uint32_t> stage = stages(table);
  for (uint32_t i = 0; i < table.nodes.size(); ++i)
    if (model_use(*table.nodes[i].query)) order.emplace_back(stage[i], i);
  std::sort(order.begin(), order.end());
  for (const auto& [unused, node] : order) {
    numbers_.emplace(node, numbers_.size() + 1);
    models_.emplace(node, hash(model_name(node)));
  }
  if (order.size() < 2) return;
  const std::vector<uint32_t> sizes = sizes_of_fixed(table);
  for (uint32_t i = 1; i < table.nodes.size(); ++i) {
    const NodeTable::Node& node = table.nodes[i];
    if (readers[i] == kNoReader || sizes[i] > kMostNodes ||
        !std::holds_alternative<Plus>(table.nodes[node.parent].query->node))
      continue;
    const uint64_t key = content_key(build_prompt(*node.query));
    uses_[seeds::mix(models_.at(readers[i]), key)].insert(numbers_.at(readers[i]));
  }
}

void FragmentUses::mark(Prompt& prompt, uint32_t node) const {
  if (!uses_.empty()) mark_children(prompt, node);
}

void FragmentUses::mark_children(Prompt& group, uint32_t node) const {
  for (Prompt& child : group.children) {
    mark_children(child, node);
    if (group.kind != Prompt::Kind::kIndependent) continue;
    const auto found = uses_.find(seeds::mix(models_.at(node), content_key(child)));
    if (found == uses_.end()) continue;
    const auto next = found->second.upper_bound(numbers_.at(node));
    if (next == found->second.end()) continue;
    child.next_use = *next;
    child.pin = true;
  }
}

}  // namespace spnl::evaluator
