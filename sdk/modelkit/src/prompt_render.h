#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "prompt_tree.h"
#include "spnl/modelkit/chat_template.h"
#include "spnl/modelkit/tokenizer.h"

namespace spnl::modelkit {

/// Messages written as one text, and where in it each part stands.
struct RenderedPrompt {
  struct Place {
    uint32_t fragment;
    bool parse_special;
    uint64_t begin, end;  ///< bytes of the part's own text
    uint64_t block_end;   ///< and of what closes its message
  };
  std::string text;
  std::vector<Place> places;  ///< in order of the text
  bool located = false;  ///< false: the template does something else with the texts than copying or
                         ///< trimming them
};

struct RenderOptions {
  bool generation = true;  ///< with the header that invites an answer
  std::string_view tools_json;
  std::string bos, eos;  ///< spellings
};

/// Throws Error(kInvalid) when the template refuses.
std::string render_template(const ChatTemplate& chat_template,
                            const std::vector<PromptMessage>& messages,
                            const RenderOptions& options);

/// Finds the parts in `text`, the rendering of `messages`: renders again with marks in place of the
/// texts, and accepts the answer only if putting the texts (or their trimmed forms) for the marks
/// gives `text` again.
RenderedPrompt locate_parts(const ChatTemplate& chat_template,
                            const std::vector<PromptMessage>& messages,
                            const RenderOptions& options, std::string text);

/// Without a template: ChatML, or "role: text" lines.
RenderedPrompt render_plain(const std::vector<PromptMessage>& messages,
                            const RenderOptions& options, bool chatml);

}  // namespace spnl::modelkit
