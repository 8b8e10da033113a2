#include "backends/prompt_wire.h"

#include <algorithm>
#include <limits>

#include "spnl/backend.hpp"
#include "spnl/error.h"

namespace spnl::backends {

namespace {

int32_t role_of(Role role) {
  switch (role) {
    case Role::kNone:
      return SPNL_ROLE_NONE;
    case Role::kSystem:
      return SPNL_ROLE_SYSTEM;
    case Role::kUser:
      return SPNL_ROLE_USER;
    case Role::kAssistant:
      return SPNL_ROLE_ASSISTANT;
    case Role::kTool:
      return SPNL_ROLE_TOOL;
  }
  return SPNL_ROLE_NONE;
}

int32_t kind_of(Prompt::Kind kind) {
  switch (kind) {
    case Prompt::Kind::kMessage:
      return SPNL_FRAG_MESSAGE;
    case Prompt::Kind::kTokens:
      return SPNL_FRAG_TOKENS;
    case Prompt::Kind::kOrdered:
      return SPNL_FRAG_ORDERED;
    case Prompt::Kind::kIndependent:
      return SPNL_FRAG_INDEPENDENT;
  }
  return SPNL_FRAG_ORDERED;
}

uint32_t flags_of(const Prompt& prompt) {
  return (prompt.parse_special ? SPNL_FRAG_PARSE_SPECIAL : 0u) |
         (prompt.sees_prefix ? SPNL_FRAG_SEES_PREFIX : 0u) | (prompt.pin ? SPNL_FRAG_PIN : 0u) |
         (prompt.no_store ? SPNL_FRAG_NO_STORE : 0u);
}

bool is_group(const Prompt& prompt) {
  return prompt.kind == Prompt::Kind::kOrdered || prompt.kind == Prompt::Kind::kIndependent;
}

}  // namespace

PromptWire::PromptWire(const Prompt& prompt, const PromptOptions& options, bool spans) {
  if (prompt.kind == Prompt::Kind::kOrdered) {
    for (const Prompt& child : prompt.children) add(child, -1, spans);
  } else {
    add(prompt, -1, spans);
  }
  for (const spnl_fragment& fragment : fragments_) pointers_.push_back(&fragment);
  wire_.struct_size = sizeof wire_;
  wire_.n_fragments = static_cast<uint32_t>(pointers_.size());
  wire_.fragments = pointers_.data();
  wire_.tools_json = abi::str(options.tools_json);
  wire_.flags = (options.no_special ? SPNL_PROMPT_NO_SPECIAL : 0u) |
                (options.no_generation ? SPNL_PROMPT_NO_GENERATION : 0u);
}

void PromptWire::add(const Prompt& prompt, int32_t parent, bool spans) {
  if (is_group(prompt) && !spans) {
    for (const Prompt& child : prompt.children) add(child, -1, spans);
    return;
  }
  if (fragments_.size() >= static_cast<size_t>(std::numeric_limits<int32_t>::max()) ||
      prompt.tokens.size() > std::numeric_limits<uint32_t>::max())
    throw Error(ErrorCode::kEvaluation, "the prompt has too many parts");
  const int32_t index = static_cast<int32_t>(fragments_.size());
  spnl_fragment fragment{};
  fragment.struct_size = sizeof fragment;
  fragment.flags = flags_of(prompt);
  fragment.kind = kind_of(prompt.kind);
  fragment.parent = parent;
  fragment.lineage = prompt.lineage;
  fragment.next_use = prompt.next_use;
  if (prompt.kind == Prompt::Kind::kMessage) {
    fragment.role = role_of(prompt.role);
    fragment.text = abi::str(prompt.text);
  } else if (prompt.kind == Prompt::Kind::kTokens) {
    fragment.tokens = prompt.tokens.data();
    fragment.n_tokens = static_cast<uint32_t>(prompt.tokens.size());
  }
  fragments_.push_back(fragment);
  if (is_group(prompt))
    for (const Prompt& child : prompt.children) add(child, index, spans);
}

namespace {

/// Walks a tree as PromptWire does, with the groups.
class FragmentCounter {
 public:
  FragmentCounter(const std::vector<uint64_t>& tokens, const std::vector<uint64_t>& cached)
      : tokens_(tokens), cached_(cached) {}

  void add(const Prompt& prompt, const std::string& path, bool independent) {
    const size_t index = next_++;
    if (independent && index < tokens_.size())
      out.push_back({path, beginning(prompt), tokens_[index], cached_[index]});
    if (is_group(prompt)) add_children(prompt, path);
  }

  void add_children(const Prompt& prompt, const std::string& path) {
    for (size_t i = 0; i < prompt.children.size(); ++i)
      add(prompt.children[i], (path.empty() ? "" : path + ".") + std::to_string(i),
          prompt.kind == Prompt::Kind::kIndependent);
  }

  bool complete() const { return next_ == tokens_.size() && next_ == cached_.size(); }

  std::vector<FragmentUsage> out;

 private:
  static std::string beginning(const Prompt& prompt) {
    constexpr size_t kShown = 40;
    const Prompt* at = &prompt;
    while (!at->children.empty()) at = &at->children.front();
    size_t end = std::min(kShown, at->text.size());
    while (end < at->text.size() && (at->text[end] & 0xC0) == 0x80) ++end;  // whole characters
    return at->text.substr(0, end);
  }

  const std::vector<uint64_t>&tokens_, &cached_;
  size_t next_ = 0;
};

}  // namespace

std::vector<FragmentUsage> fragment_usage(const Prompt& prompt, const std::vector<uint64_t>& tokens,
                                          const std::vector<uint64_t>& cached) {
  FragmentCounter counter(tokens, cached);
  if (prompt.kind == Prompt::Kind::kOrdered)
    counter.add_children(prompt, "");
  else
    counter.add(prompt, "", false);
  if (!counter.complete()) return {};  // of a prompt whose groups were not kept
  return std::move(counter.out);
}

}  // namespace spnl::backends
