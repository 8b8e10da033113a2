#pragma once
// Prompts with spans, made piece by piece or at random.
#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "engine/span_plan.h"

namespace spnl::mistralrs::test {

using Random = std::mt19937;

/// Ids that all models of the tests have.
inline std::vector<int32_t> some(Random& random, size_t count) {
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(3 + random() % 90);
  return ids;
}

/// A prompt with spans, made piece by piece.
struct SpanPrompt {
  std::vector<int32_t> ids;
  std::vector<modelkit::EncodedSpan> spans;
  uint64_t preamble = 0;
  int32_t groups = 0;

  void text(const std::vector<int32_t>& more) { ids.insert(ids.end(), more.begin(), more.end()); }
  /// A span from here on, until end_span.
  size_t begin_span(int32_t parent, int32_t group) {
    modelkit::EncodedSpan span;
    span.begin = ids.size();
    span.parent = parent;
    span.group = group;
    spans.push_back(span);
    return spans.size() - 1;
  }
  void end_span(size_t index) {
    modelkit::EncodedSpan& span = spans[index];
    span.end = span.text_begin = span.text_end = ids.size();
  }
  void fragment(const std::vector<int32_t>& of, int32_t group, int32_t parent = -1) {
    const size_t index = begin_span(parent, group);
    text(of);
    end_span(index);
  }
};

inline SpanRequest spans_of(const SpanPrompt& prompt, SpanMode mode, uint32_t k = 16,
                            SpanContext context = SpanContext::kPreamble) {
  SpanRequest request;
  request.spans = prompt.spans;
  request.preamble = prompt.preamble;
  request.mode = mode;
  request.k = k;
  request.context = context;
  return request;
}

/// Four fragments between a preamble and a question.
inline SpanPrompt documents(const std::vector<int>& order, size_t tokens = 37, int question = 9) {
  SpanPrompt p;
  Random random(99);
  p.text(some(random, 11));
  p.preamble = p.ids.size();
  for (const int document : order) {
    Random content(static_cast<uint32_t>(1000 + document));
    p.fragment(some(content, tokens + static_cast<size_t>(document)), 0);
  }
  Random content(static_cast<uint32_t>(5000 + question));
  p.text(some(content, 13));
  return p;
}

/// How large random prompts become.
struct TreeShape {
  int depth = 2;                      ///< of groups in fragments
  size_t fragments = 4, tokens = 20;  ///< at most: of a group, of a fragment's own text
  size_t prompt_tokens = 400;         ///< drawn again beyond
};

/// One try at random_prompt: of any length.
class RandomTree {
 public:
  RandomTree(Random& random, const TreeShape& shape) : random_(random), shape_(shape) {
    prompt_.text(some(random_, random_() % 7));
    prompt_.preamble = prompt_.ids.size();
    if (random_() % 2 == 0) prompt_.text(some(random_, random_() % 9));
    for (size_t groups = 1 + random_() % 2; groups > 0; --groups) {
      group(-1, shape_.depth);
      if (groups > 1 || random_() % 4 != 0) prompt_.text(some(random_, 1 + random_() % 9));
    }
    if (prompt_.ids.empty()) prompt_.text(some(random_, 1));
  }
  SpanPrompt prompt() const { return prompt_; }

 private:
  void group(int32_t parent, int levels) {
    const int32_t name = prompt_.groups++;
    const bool prefix = random_() % 5 == 0;
    std::vector<int32_t> text;
    const size_t most = parent < 0 ? shape_.fragments : std::min<size_t>(3, shape_.fragments);
    for (size_t f = random_() % (most + 1); f > 0; --f) {
      const size_t index = prompt_.begin_span(parent, name);
      prompt_.spans[index].sees_prefix = prefix;
      if (random_() % 6 != 0) text = some(random_, random_() % (shape_.tokens + 1));  // else again
      prompt_.text(text);
      if (levels > 1 && random_() % 2 == 0) {
        group(static_cast<int32_t>(index), levels - 1);
        prompt_.text(some(random_, random_() % 5));
      }
      prompt_.end_span(index);
      if (random_() % 5 == 0) prompt_.text(some(random_, 1 + random_() % 3));  // glue
    }
  }

  Random& random_;
  const TreeShape& shape_;
  SpanPrompt prompt_;
};

/// Preamble, text, groups and text in any combination, each of any length: with empty fragments and
/// duplicates, groups first, last, empty and in fragments.
inline SpanPrompt random_prompt(Random& random, const TreeShape& shape) {
  for (;;) {
    SpanPrompt prompt = RandomTree(random, shape).prompt();
    if (prompt.ids.size() <= shape.prompt_tokens) return prompt;
  }
}

}  // namespace spnl::mistralrs::test
