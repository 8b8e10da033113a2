#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "prompt_order.h"
#include "prompt_render.h"

namespace spnl::modelkit {

/// A stretch of the rendered text that belongs to one span and to none inside it; span -1: to none.
struct Stretch {
  uint64_t begin, end;
  int32_t span;
};

/// Empty ones are left out; what goes on with the same span is joined.
void append_stretch(std::vector<Stretch>& stretches, Stretch next);

struct SpanText {
  std::vector<Stretch>
      stretches;          ///< all of the text, in order; neighbours belong to different spans
  uint64_t preamble = 0;  ///< bytes up to the first message that is no system message
  std::string note;       ///< why the text can't be cut; then there are no stretches
};

/// Cuts rendered messages (with frames) at the borders of spans. A span gets its texts and the
/// glue that belongs to it alone; glue that spans share, such as the header of one turn around
/// them or what separates them in it, belongs to what holds them all.
SpanText cut_messages(const spnl_prompt& prompt, const PromptOrder& order,
                      const RenderedPrompt& rendered);

/// Per span, by its fragment, the text that is its own.
std::map<uint32_t, std::string> own_texts(const SpanText& cut, const PromptOrder& order,
                                          std::string_view text);

}  // namespace spnl::modelkit
