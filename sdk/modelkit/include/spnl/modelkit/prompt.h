#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "spnl/backend.h"
#include "spnl/modelkit/chat_template.h"
#include "spnl/modelkit/tokenizer.h"

namespace spnl::modelkit {

/// A part of the prompt that may be evaluated apart from the rest: a child of an INDEPENDENT
/// fragment with all below it, or a message with a lineage that stands elsewhere. Its ids are those
/// of its own rendered text, whatever stands around it.
struct EncodedSpan {
  uint64_t begin = 0, end = 0;  ///< of EncodedPrompt::ids; equal when it is empty
  /// Ids that lie wholly in the message's own text, between the template's header and what closes
  /// the message; both `end` unless `fragment` is a message or ids.
  uint64_t text_begin = 0, text_end = 0;
  int32_t parent = -1;    ///< index in EncodedPrompt::spans of the span around it
  int32_t group = -1;     ///< its INDEPENDENT fragment; -1: a message that only has a lineage
  uint32_t fragment = 0;  ///< the first of its fragments
  bool sees_prefix = false, pin = false, no_store = false;  ///< SPNL_FRAG_*
  uint64_t lineage = 0, next_use = 0;                       ///< as in spnl_fragment
};

/// Fragments are named by their index in the prompt that was given, in whatever order they come.
struct EncodedPrompt {
  std::vector<int32_t> ids;
  std::vector<uint64_t> ends;  ///< per fragment: number of ids up to its end

  // Of prompts that have INDEPENDENT fragments or a lineage:
  std::vector<EncodedSpan> spans;  ///< in pre-order, in the order of `ids`
  /// Leading ids outside all spans before the first message that is no system message (bos and
  /// system text, the template's own included); of a raw prompt: its bos.
  uint64_t preamble = 0;
  bool spans_hold = true;  ///< false: the template gives fragments no text of their own; then there
                           ///< are no spans, and the prompt is encoded as if it had no groups
  std::string note;        ///< why they do not hold, in one line
};

struct EncodeOptions {
  /// Children of each INDEPENDENT fragment in the order of their content, so that any order given
  /// makes the same ids.
  bool canonical_order = false;
};

/// Turns the ABI's fragment trees into text and ids. Const after construction: thread-safe.
class PromptEncoder {
 public:
  /// `chat_template` may be null: messages are then written in a plain, documented form (ChatML
  /// where the vocabulary has its tokens, else "role: text" lines). Both must outlive the encoder.
  PromptEncoder(const Tokenizer& tokenizer, const ChatTemplate* chat_template);

  /// The prompt after the chat template (messages) or as it is (role NONE). A template that refuses
  /// the roles gets the fallback of the language's specification: system text joined to the first
  /// user message, equal neighbours joined by a blank line. Throws Error(kInvalid) when it still
  /// refuses, when raw text and messages are mixed, or when the tree is malformed;
  /// Error(kUnsupported) for blobs.
  std::string render(const spnl_prompt& prompt) const;

  /// Text of messages never turns into control tokens, unless its fragment has
  /// SPNL_FRAG_PARSE_SPECIAL; the template's own text does. Raw text gets bos as the vocabulary
  /// says, unless the prompt has SPNL_PROMPT_NO_SPECIAL; rendered text never gets a second one.
  EncodedPrompt encode(const spnl_prompt& prompt, const EncodeOptions& options = {}) const;

 private:
  const Tokenizer& tokenizer_;
  const ChatTemplate* template_;
};

/// Checks what every plugin must check first: sizes, kinds, roles, parents before children. Throws
/// Error(kInvalid).
void validate_prompt(const spnl_prompt& prompt);

}  // namespace spnl::modelkit
