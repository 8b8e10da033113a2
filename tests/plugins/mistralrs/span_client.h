#pragma once
// A session that asks prompts with spans.
#include <boost/test/unit_test.hpp>

#include "client.h"
#include "span_oracle.h"

namespace spnl::mistralrs::test {

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
    r.sampling.params.min_tokens = 1;  // an end token would bring no log-probabilities
    r.sampling.params.end_ids = model_.bundle().eos;
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

inline int32_t blocks_in_use(Model& model) {
  model.runtime()->kept->clear();
  return model.runtime()->pool->used_blocks();
}

}  // namespace spnl::mistralrs::test
