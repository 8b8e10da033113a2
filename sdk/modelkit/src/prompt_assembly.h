#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "prompt_order.h"
#include "prompt_render.h"
#include "prompt_spans.h"
#include "spnl/modelkit/prompt.h"

namespace spnl::modelkit {

/// Special tokens of the vocabulary's own that may be added around a text.
enum class Specials { kNone, kBos, kBosAndEos };

/// Builds ids, per fragment how many there are up to its end, and the places of spans.
class PromptAssembly {
 public:
  /// All must outlive the assembly.
  PromptAssembly(const Tokenizer& tokenizer, const spnl_prompt& prompt, const PromptOrder& order);

  /// Ids as they are. Throws Error(kInvalid) when one is outside the vocabulary.
  void add_tokens(uint32_t fragment);
  /// `stretches` cover `text`; each is tokenised on its own (no eos is added to several). The first
  /// `preamble` bytes and what was added before count as the prompt's preamble.
  void add_text(std::string_view text, const std::vector<RenderedPrompt::Place>& places,
                const std::vector<Stretch>& stretches, Specials specials,
                std::optional<uint64_t> preamble = std::nullopt);

  bool empty() const { return out_.ids.empty(); }
  EncodedPrompt finish();

 private:
  void set_end(uint32_t fragment, uint64_t end);
  void grow_span(int32_t span, uint64_t begin, uint64_t end);
  void finish_ends();
  void finish_spans();
  void finish_preamble();

  const Tokenizer& tokenizer_;
  const spnl_prompt& prompt_;
  const PromptOrder& order_;
  EncodedPrompt out_;
  std::vector<bool> known_;                           // per fragment: its end
  std::vector<bool> known_span_;                      // per span: its place
  std::vector<std::pair<uint64_t, uint64_t>> texts_;  // per fragment: ids of its own text
};

}  // namespace spnl::modelkit
