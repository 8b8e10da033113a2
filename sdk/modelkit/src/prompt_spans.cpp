#include "prompt_spans.h"

#include <algorithm>

namespace spnl::modelkit {
namespace {

// Spans are in pre-order, so the later one of two is never around the other.
int32_t common_span(const PromptOrder& order, int32_t a, int32_t b) {
  while (a != b) {
    int32_t& later = a > b ? a : b;
    later = order.spans[static_cast<size_t>(later)].parent;
  }
  return a;
}

class Cutter {
 public:
  Cutter(const PromptOrder& order, const RenderedPrompt& rendered)
      : order_(order), rendered_(rendered) {}

  SpanText cut() {
    if (!rendered_.located || rendered_.frames.empty()) {
      out_.note = "the chat template rewrites or moves messages";
      return std::move(out_);
    }
    int32_t owner_before = -1;
    for (const RenderedPrompt::Frame& frame : rendered_.frames) {
      const int32_t owner = common_span(order_, span_at(frame.first), span_at(frame.last));
      if (!add_header(frame, owner_before, owner)) return no_border();
      add_texts(frame);
      owner_before = owner;
    }
    if (owner_before >= 0 && !rendered_.frames.back().end) return no_border();
    add(rendered_.frames.back().end.value_or(at_), owner_before);
    add(rendered_.text.size(), -1);
    return std::move(out_);
  }

 private:
  int32_t span_at(size_t place) const { return order_.span_of[rendered_.places[place].fragment]; }

  // What closes the message before, and the frame's own header.
  bool add_header(const RenderedPrompt::Frame& frame, int32_t before, int32_t owner) {
    if (!frame.begin && before != owner) return false;
    if (frame.begin) add(*frame.begin, before);
    add(rendered_.places[frame.first].begin, owner);
    return true;
  }

  void add_texts(const RenderedPrompt::Frame& frame) {
    for (size_t i = frame.first; i <= frame.last; ++i) {
      if (i > frame.first) {  // the separator
        add(rendered_.places[i].begin, common_span(order_, span_at(i - 1), span_at(i)));
      }
      add(rendered_.places[i].end, span_at(i));
    }
  }

  void add(uint64_t end, int32_t span) {
    if (end <= at_) return;
    append_stretch(out_.stretches, {at_, end, span});
    at_ = end;
  }

  SpanText no_border() {
    out_.stretches.clear();
    out_.note = "the chat template does not show where a message ends";
    return std::move(out_);
  }

  const PromptOrder& order_;
  const RenderedPrompt& rendered_;
  SpanText out_;
  uint64_t at_ = 0;
};

uint64_t preamble_bytes(const spnl_prompt& prompt, const RenderedPrompt& rendered) {
  for (const RenderedPrompt::Frame& frame : rendered.frames) {
    for (size_t i = frame.first; i <= frame.last; ++i) {
      if (prompt.fragments[rendered.places[i].fragment]->role == SPNL_ROLE_SYSTEM) continue;
      return i == frame.first ? frame.begin.value_or(0) : rendered.places[i].begin;
    }
  }
  return rendered.text.size();
}

}  // namespace

void append_stretch(std::vector<Stretch>& stretches, Stretch next) {
  if (next.end == next.begin) return;
  if (!stretches.empty() && stretches.back().span == next.span) {
    stretches.back().end = next.end;
  } else {
    stretches.push_back(next);
  }
}

SpanText cut_messages(const spnl_prompt& prompt, const PromptOrder& order,
                      const RenderedPrompt& rendered) {
  SpanText out = Cutter(order, rendered).cut();
  out.preamble = preamble_bytes(prompt, rendered);
  for (const Stretch& stretch : out.stretches) {
    if (stretch.span < 0) continue;
    out.preamble = std::min(out.preamble, stretch.begin);
    break;
  }
  return out;
}

std::map<uint32_t, std::string> own_texts(const SpanText& cut, const PromptOrder& order,
                                          std::string_view text) {
  std::map<uint32_t, std::string> texts;
  for (const Stretch& stretch : cut.stretches) {
    if (stretch.span < 0) continue;
    texts[order.spans[static_cast<size_t>(stretch.span)].fragment] +=
        text.substr(stretch.begin, stretch.end - stretch.begin);
  }
  return texts;
}

}  // namespace spnl::modelkit
