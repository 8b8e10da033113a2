#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "spnl/backend.h"

namespace spnl::modelkit {

/// Text of one fragment inside a message. A message has several parts only after neighbours were
/// joined.
struct PromptPart {
  uint32_t fragment;
  bool parse_special;
  std::string text;  ///< UTF-8: what was ill-formed is U+FFFD
};

struct PromptMessage {
  int32_t role;  ///< SPNL_ROLE_*
  std::vector<PromptPart> parts;
};

/// The leaves of a fragment tree in order: messages, or raw text (role NONE), and ids.
struct PromptLeaf {
  uint32_t fragment;
  bool is_tokens;
};

inline std::string_view view_of(spnl_str text) {
  return text.len == 0 ? std::string_view()
                       : std::string_view(text.data, static_cast<size_t>(text.len));
}

/// Both: `prompt` has been validated; nullopt for groups; throw Error(kUnsupported) for blobs.
std::optional<PromptLeaf> prompt_leaf(const spnl_prompt& prompt, uint32_t fragment);
std::vector<PromptLeaf> prompt_leaves(const spnl_prompt& prompt);
bool prompt_is_raw(const spnl_prompt& prompt);  ///< no fragment has a role
std::vector<PromptMessage> prompt_messages(const spnl_prompt& prompt,
                                           const std::vector<PromptLeaf>& leaves);

/// What a template that refuses the roles gets: all system text before the first user message's
/// own, then equal neighbours as one message; texts are joined by a blank line.
std::vector<PromptMessage> join_messages(std::vector<PromptMessage> messages);

constexpr std::string_view kPartSeparator = "\n\n";

}  // namespace spnl::modelkit
