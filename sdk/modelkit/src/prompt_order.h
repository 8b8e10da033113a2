#pragma once
#include <cstdint>
#include <vector>

#include "prompt_tree.h"

namespace spnl::modelkit {

/// In which order the children of INDEPENDENT fragments are written.
struct ChildOrder {
  bool canonical = false;  ///< by a hash of role, text and ids of all below a child; else as given
  bool reversed = false;   ///< and then from the last to the first
};

/// A stretch of the prompt that may stand apart: a child of an INDEPENDENT fragment, or a message
/// with a lineage elsewhere (group -1).
struct SpanNode {
  int32_t parent;     ///< index of the span around it, or -1
  int32_t group;      ///< fragment index of its INDEPENDENT
  uint32_t fragment;  ///< first fragment of its subtree
};

/// A fragment tree in the order in which it is written.
struct PromptOrder {
  std::vector<PromptLeaf> leaves;
  std::vector<SpanNode> spans;   ///< in pre-order
  std::vector<int32_t> span_of;  ///< per fragment: the innermost span that holds it, or -1
};

/// `prompt` has been validated. Equal children keep their order under `canonical`. Throws
/// Error(kUnsupported) for blobs.
PromptOrder order_prompt(const spnl_prompt& prompt, ChildOrder order);

}  // namespace spnl::modelkit
