#include "prompt_tree.h"

#include <algorithm>
#include <iterator>

#include "spnl/modelkit/error.h"
#include "spnl/modelkit/prompt.h"
#include "spnl/modelkit/utf8_stream.h"

namespace spnl::modelkit {
namespace {

[[noreturn]] void refuse(uint32_t fragment, const char* what) {
  throw Error(ErrorCode::kInvalid, "prompt: fragment " + std::to_string(fragment) + " " + what);
}

bool is_group(const spnl_fragment& fragment) {
  return fragment.kind == SPNL_FRAG_ORDERED || fragment.kind == SPNL_FRAG_INDEPENDENT;
}

void check_fragment(uint32_t i, const spnl_fragment& fragment) {
  if (fragment.kind < SPNL_FRAG_MESSAGE || fragment.kind > SPNL_FRAG_INDEPENDENT)
    refuse(i, "has an unknown kind");
  if (fragment.role < SPNL_ROLE_NONE || fragment.role > SPNL_ROLE_TOOL)
    refuse(i, "has an unknown role");
  if (fragment.n_tokens > 0 && fragment.tokens == nullptr) refuse(i, "counts ids but has none");
  if (fragment.text.len > 0 && fragment.text.data == nullptr) refuse(i, "has a length but no text");
  if (fragment.mime.len > 0 && fragment.mime.data == nullptr)
    refuse(i, "has a length but no mime type");
  if (fragment.text.len > SIZE_MAX / 4) refuse(i, "is longer than memory");
}

std::string to_utf8(std::string_view bytes) {
  Utf8Stream stream;
  std::string text = stream.push(bytes);
  return text + stream.finish();
}

void append_parts(PromptMessage& to, PromptMessage&& from) {
  std::move(from.parts.begin(), from.parts.end(), std::back_inserter(to.parts));
}

}  // namespace

void validate_prompt(const spnl_prompt& prompt) {
  if (!SPNL_HAS(spnl_prompt, &prompt, flags))
    throw Error(ErrorCode::kInvalid, "prompt: struct_size is too small");
  if (prompt.n_fragments == 0) throw Error(ErrorCode::kInvalid, "prompt: it has no fragments");
  if (prompt.fragments == nullptr)
    throw Error(ErrorCode::kInvalid, "prompt: it counts fragments but has none");
  if (prompt.n_fragments > INT32_MAX)
    throw Error(ErrorCode::kInvalid, "prompt: too many fragments");
  if (prompt.tools_json.len > 0 && prompt.tools_json.data == nullptr) {
    throw Error(ErrorCode::kInvalid, "prompt: tools_json has a length but no text");
  }
  std::vector<int32_t> path;  // from the top to the fragment before
  bool raw = false, roles = false;
  for (uint32_t i = 0; i < prompt.n_fragments; ++i) {
    const spnl_fragment* const fragment = prompt.fragments[i];
    if (fragment == nullptr) refuse(i, "is missing");
    if (!SPNL_HAS(spnl_fragment, fragment, next_use)) refuse(i, "has too small a struct_size");
    check_fragment(i, *fragment);
    while (!path.empty() && path.back() != fragment->parent) path.pop_back();
    if (fragment->parent != -1 && path.empty())
      refuse(i, "does not follow its parent (fragments go in pre-order)");
    if (!path.empty() && !is_group(*prompt.fragments[path.back()]))
      refuse(i, "has a parent that is no group");
    path.push_back(static_cast<int32_t>(i));
    if (fragment->kind == SPNL_FRAG_MESSAGE)
      (fragment->role == SPNL_ROLE_NONE ? raw : roles) = true;
  }
  if (raw && roles)
    throw Error(ErrorCode::kInvalid, "prompt: raw text and messages with roles are mixed");
}

std::optional<PromptLeaf> prompt_leaf(const spnl_prompt& prompt, uint32_t i) {
  const spnl_fragment& fragment = *prompt.fragments[i];
  if (fragment.kind == SPNL_FRAG_BLOB) {
    throw Error(ErrorCode::kUnsupported, "prompt: fragment " + std::to_string(i) + " is a blob (" +
                                             std::string(view_of(fragment.mime).substr(0, 60)) +
                                             "); only text is supported");
  }
  if (is_group(fragment)) return std::nullopt;
  return PromptLeaf{i, fragment.kind == SPNL_FRAG_TOKENS};
}

std::vector<PromptLeaf> prompt_leaves(const spnl_prompt& prompt) {
  std::vector<PromptLeaf> leaves;
  for (uint32_t i = 0; i < prompt.n_fragments; ++i) {
    if (const auto leaf = prompt_leaf(prompt, i)) leaves.push_back(*leaf);
  }
  return leaves;
}

bool prompt_is_raw(const spnl_prompt& prompt) {
  for (uint32_t i = 0; i < prompt.n_fragments; ++i) {
    const spnl_fragment& fragment = *prompt.fragments[i];
    if (fragment.kind == SPNL_FRAG_MESSAGE && fragment.role != SPNL_ROLE_NONE) return false;
  }
  return true;
}

std::vector<PromptMessage> prompt_messages(const spnl_prompt& prompt,
                                           const std::vector<PromptLeaf>& leaves) {
  std::vector<PromptMessage> messages;
  for (const PromptLeaf& leaf : leaves) {
    if (leaf.is_tokens) continue;
    const spnl_fragment& fragment = *prompt.fragments[leaf.fragment];
    const bool parse_special = (fragment.flags & SPNL_FRAG_PARSE_SPECIAL) != 0;
    messages.push_back(
        {fragment.role, {{leaf.fragment, parse_special, to_utf8(view_of(fragment.text))}}});
  }
  return messages;
}

std::vector<PromptMessage> join_messages(std::vector<PromptMessage> messages) {
  PromptMessage system{SPNL_ROLE_USER, {}};
  std::vector<PromptMessage> others;
  for (PromptMessage& message : messages) {
    if (message.role == SPNL_ROLE_SYSTEM) {
      append_parts(system, std::move(message));
    } else {
      others.push_back(std::move(message));
    }
  }
  if (!system.parts.empty()) {
    auto user = std::find_if(others.begin(), others.end(), [](const PromptMessage& message) {
      return message.role == SPNL_ROLE_USER;
    });
    if (user == others.end()) user = others.insert(others.begin(), {SPNL_ROLE_USER, {}});
    append_parts(system, std::move(*user));
    *user = std::move(system);
  }
  std::vector<PromptMessage> joined;
  for (PromptMessage& message : others) {
    if (!joined.empty() && joined.back().role == message.role) {
      append_parts(joined.back(), std::move(message));
    } else {
      joined.push_back(std::move(message));
    }
  }
  return joined;
}

}  // namespace spnl::modelkit
