#pragma once
#include <vector>

#include "spnl/backend.h"
#include "spnl/backends.h"

namespace spnl::backends {

/// A prompt in the ABI's form. It points into the Prompt and PromptOptions it was made from, which
/// must outlive it.
class PromptWire {
 public:
  /// `spans`: keep the groups; else only the messages and token runs, in order. The top-level
  /// ordered group is no fragment. Throws Error(kEvaluation) when there are more fragments than the
  /// ABI can count.
  PromptWire(const Prompt& prompt, const PromptOptions& options, bool spans);
  PromptWire(const PromptWire&) = delete;
  PromptWire& operator=(const PromptWire&) = delete;

  const spnl_prompt* get() const noexcept { return &wire_; }
  const std::vector<spnl_fragment>& fragments() const noexcept { return fragments_; }

 private:
  void add(const Prompt& prompt, int32_t parent, bool spans);

  std::vector<spnl_fragment> fragments_;
  std::vector<const spnl_fragment*> pointers_;
  spnl_prompt wire_{};
};

/// What a backend counted for the fragments of `prompt`'s wire with groups, for the children of
/// independent groups; empty when the counts are of another number of fragments.
std::vector<FragmentUsage> fragment_usage(const Prompt& prompt, const std::vector<uint64_t>& tokens,
                                          const std::vector<uint64_t>& cached);

}  // namespace spnl::backends
