#pragma once
// A session that asks prompts with spans, and prompts to ask.
#include <boost/test/unit_test.hpp>
#include <random>

#include "client.h"
#include "span_oracle.h"

namespace spnl::mistralrs::test {

using Random = std::mt19937;

inline std::vector<int32_t> some(Random& random, size_t count) {
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(3 + random() % 200);
  return ids;
}

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

struct Answer {
  std::vector<float> logprobs;  // [vocab] of the first token
  std::vector<int32_t> tokens;
  std::vector<uint8_t> cached;

  int64_t computed() const { return std::count(cached.begin(), cached.end(), 0); }
  /// Of the span's tokens, those that were not cached.
  int64_t computed(const spnl::modelkit::EncodedSpan& span) const {
    return std::count(cached.begin() + static_cast<std::ptrdiff_t>(span.begin),
                      cached.begin() + static_cast<std::ptrdiff_t>(span.end), 0);
  }
};

/// Asks many things at once, and keeps the answers.
class Asker {
 public:
  explicit Asker(Model& model)
      : model_(model),
        session(
            model, [this](const Event& e) { return hear(e); }, [](const std::string&) {}) {}

  size_t submit(const SpanPrompt& prompt, const SpanRequest& spans, uint32_t tokens = 1) {
    Request r;
    r.user_id = answers.size();
    r.prompt = prompt.ids;
    r.spans = spans;
    r.sampling.max_tokens = tokens;
    r.sampling.params.temperature = 0;
    r.sampling.want_logprobs = true;
    r.sampling.top_logprobs = static_cast<uint32_t>(model_.vocab());
    answers.emplace_back();
    sequences.emplace_back();
    BOOST_TEST_REQUIRE(session.submit(std::move(r), sequences.back()));
    return answers.size() - 1;
  }
  void run() {
    for (int steps = 0; session.step() > 0; ++steps) BOOST_TEST_REQUIRE(steps < 20000);
  }
  Answer ask(const SpanPrompt& prompt, const SpanRequest& spans, uint32_t tokens = 1) {
    const size_t index = submit(prompt, spans, tokens);
    run();
    return answers[index];
  }

  std::vector<Answer> answers;
  std::vector<uint64_t> sequences;

 private:
  int32_t hear(const Event& e) {
    Answer& a = answers[e.sequence->request->user_id];
    if (e.finished) {
      a.cached = e.sequence->cached;
      return 0;
    }
    if (a.tokens.empty()) {
      a.logprobs.resize(e.top_ids.size());
      for (size_t i = 0; i < e.top_ids.size(); ++i)
        a.logprobs[static_cast<size_t>(e.top_ids[i])] = e.top_logprobs[i];
    }
    a.tokens.push_back(e.token);
    return 0;
  }

  Model& model_;

 public:
  Session session;
};

inline Settings exact_numbers(int32_t block_size) {
  Settings s = base();
  s.kv_type = cpu::KvType::kF32;
  s.block_size = block_size;
  return s;
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

inline int32_t blocks_in_use(Model& model) {
  model.runtime()->kept->clear();
  return model.runtime()->pool->used_blocks();
}

/// Preamble, text, groups and text in any combination, each of any length.
inline SpanPrompt random_prompt(Random& random, int depth) {
  SpanPrompt p;
  p.text(some(random, random() % 7));
  p.preamble = p.ids.size();
  if (random() % 2 == 0) p.text(some(random, random() % 9));
  const auto group = [&](auto& self, int32_t parent, int levels) -> void {
    const int32_t name = p.groups++;
    const bool prefix = random() % 5 == 0;
    std::vector<int32_t> last;
    for (size_t f = random() % 4 + (parent < 0 ? 1 : 0); f > 0; --f) {
      const size_t index = p.begin_span(parent, name);
      p.spans[index].sees_prefix = prefix;
      if (random() % 6 != 0) last = some(random, random() % 21);  // else the same again
      p.text(last);
      if (levels > 1 && random() % 2 == 0) {
        self(self, static_cast<int32_t>(index), levels - 1);
        p.text(some(random, random() % 5));
      }
      p.end_span(index);
      if (random() % 5 == 0) p.text(some(random, 1 + random() % 3));  // glue
    }
  };
  for (size_t groups = 1 + random() % 2; groups > 0; --groups) {
    group(group, -1, depth);
    if (groups > 1 || random() % 4 != 0) p.text(some(random, 1 + random() % 9));
  }
  if (p.ids.empty()) p.text(some(random, 1));
  return p;
}

}  // namespace spnl::mistralrs::test
