#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "spnl/backend.h"
#include "spnl/modelkit/chat_template.h"
#include "spnl/modelkit/tokenizer.h"

namespace spnl::modelkit {

struct EncodedPrompt {
  std::vector<int32_t> ids;
  std::vector<uint64_t> ends;  ///< per fragment: number of ids up to its end
};

/// Turns the ABI's fragment trees into text and ids. Const after construction: thread-safe.
class PromptEncoder {
 public:
  /// `chat_template` may be null: messages are then written in a plain, documented form (ChatML where the vocabulary
  /// has its tokens, else "role: text" lines). Both must outlive the encoder.
  PromptEncoder(const Tokenizer& tokenizer, const ChatTemplate* chat_template);

  /// The prompt after the chat template (messages) or as it is (role NONE). A template that refuses the roles gets
  /// the fallback of the language's specification: system text joined to the first user message, equal neighbours joined by
  /// a blank line. Throws Error(kInvalid) when it still refuses, when raw text and messages are mixed, or when the tree
  /// is malformed; Error(kUnsupported) for blobs.
  std::string render(const spnl_prompt& prompt) const;

  /// Text of messages never turns into control tokens, unless its fragment has SPNL_FRAG_PARSE_SPECIAL; the template's own text
  /// does. Raw text gets bos as the vocabulary says, unless the prompt has SPNL_PROMPT_NO_SPECIAL; rendered text never
  /// gets a second one.
  EncodedPrompt encode(const spnl_prompt& prompt) const;

 private:
  const Tokenizer& tokenizer_;
  const ChatTemplate* template_;
};

/// Checks what every plugin must check first: sizes, kinds, roles, parents before children. Throws Error(kInvalid).
void validate_prompt(const spnl_prompt& prompt);

}  // namespace spnl::modelkit
