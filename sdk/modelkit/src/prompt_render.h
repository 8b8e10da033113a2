#pragma once
#include <cstdint>
#include <optional>
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
  /// Per message its stretch of `text`: header, parts and what closes it, up to the next header;
  /// nullopt where the border cannot be told. See find_frames.
  struct Frame {
    std::optional<uint64_t> begin, end;
    size_t first, last;  ///< of its parts in `places`
    int32_t role;
  };
  std::vector<Frame> frames;  ///< empty when a message is missing, repeated or moved
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

/// Messages written with a mark in place of each part's text.
struct MarkedText {
  struct Mark {
    size_t part;        ///< number among all parts
    size_t begin, end;  ///< bytes of `text`
  };
  std::string text;
  std::vector<Mark> marks;  ///< in order of the text
};

/// nullopt when the template refuses the messages or changes a mark. Blank parts stay as they are
/// unless `mark_blank`.
std::optional<MarkedText> render_marked(const ChatTemplate& chat_template,
                                        std::vector<PromptMessage> messages,
                                        const RenderOptions& options, bool mark_blank);

/// Finds the parts in `text`, the rendering of `messages`: renders again with marks in place of the
/// texts, and accepts the answer only if putting the texts (or their trimmed forms) for the marks
/// gives `text` again.
RenderedPrompt locate_parts(const ChatTemplate& chat_template,
                            const std::vector<PromptMessage>& messages,
                            const RenderOptions& options, std::string text);

/// Fills rendered.frames; `rendered` is what locate_parts made of the same messages.
void find_frames(const ChatTemplate& chat_template, const std::vector<PromptMessage>& messages,
                 const RenderOptions& options, RenderedPrompt& rendered);

/// Without a template, with frames: ChatML, or "role: text" lines.
RenderedPrompt render_plain(const std::vector<PromptMessage>& messages,
                            const RenderOptions& options, bool chatml);

}  // namespace spnl::modelkit
