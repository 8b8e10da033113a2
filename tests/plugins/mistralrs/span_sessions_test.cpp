// Random sessions whose requests share fragments: whatever was evicted, cancelled, under way, kept
// on disk or lost with the process changes no bit of an answer. SPNL_SPAN_SESSIONS: how many, for
// longer runs.
#include <cstdlib>

#include "random_model.h"
#include "span_client.h"
#include "temporary_folder.h"

using namespace spnl::mistralrs;
using namespace spnl::mistralrs::test;
using spnl::modelkit::ModelSpec;

namespace {

constexpr size_t kRequests = 10;
constexpr uint32_t kTokens = 6;

size_t session_count() {
  const char* given = std::getenv("SPNL_SPAN_SESSIONS");
  return given != nullptr ? std::strtoul(given, nullptr, 10) : 20;
}

struct Asked {
  SpanPrompt prompt;
  SpanRequest spans;
};

/// Requests over a few fragments, in any order, twice or in each other.
std::vector<Asked> random_requests(Random& random) {
  const std::vector<int32_t> system = some(random, random() % 12);
  std::vector<std::vector<int32_t>> fragments;
  for (int i = 0; i < 5; ++i) fragments.push_back(some(random, 1 + random() % 30));
  std::vector<Asked> all;
  for (size_t i = 0; i < kRequests; ++i) {
    SpanPrompt prompt;
    prompt.text(system);
    prompt.preamble = system.size();
    for (size_t f = random() % 4; f > 0; --f) {
      const size_t outer = prompt.begin_span(-1, 0);
      prompt.text(fragments[random() % fragments.size()]);
      if (random() % 4 == 0)
        prompt.fragment(fragments[random() % fragments.size()], 1 + static_cast<int32_t>(f),
                        static_cast<int32_t>(outer));
      prompt.end_span(outer);
    }
    prompt.text(some(random, 1 + random() % 9));
    all.push_back({prompt, spans_of(prompt, static_cast<SpanMode>(random() % 3), 5,
                                    static_cast<SpanContext>(random() % 4))});
  }
  return all;
}

/// One session's models and what it asks.
class RandomSession {
 public:
  RandomSession(const ModelSpec& spec, uint32_t seed) : spec_(spec), random_(seed) {
    constexpr int32_t kBlockSizes[] = {1, 8, 16, 32};
    settings_ = base();
    settings_.threads = 1;
    settings_.block_size = kBlockSizes[random_() % std::size(kBlockSizes)];
    settings_.kv_type = static_cast<cpu::KvType>(random_() % 4);
    requests_ = random_requests(random_);
    const auto ample = load(spec, settings_);
    for (const Asked& asked : requests_) {
      ample->runtime()->kept->clear();
      answers_.push_back(Asker(*ample).ask(asked.prompt, asked.spans, kTokens));
    }
    if (random_() % 2 == 0) settings_.disk = {folder_.path, 1 << 20, 0};
    settings_.kv_bytes = ample->runtime()->cache->block_bytes().both() * blocks(*ample);
  }

  void run(size_t at_once) {
    const size_t until_restart = 1 + random_() % kRequests;
    ask(0, until_restart, at_once);
    ask(until_restart, kRequests, at_once);
    ask(0, kRequests, at_once);
  }

 private:
  /// For the largest request and a few more.
  uint64_t blocks(Model& model) {
    const int64_t size = settings_.block_size;
    int64_t most = 0;
    for (const auto& [prompt, spans] : requests_) {
      const auto plan = plan_spans(prompt.ids, spans, false, *model.runtime()->kept);
      const int64_t blocks =
          most_blocks(*plan, plan->own->rows(), *model.runtime()->pool, settings_.block_size).full;
      most = std::max({most, blocks, (std::ssize(prompt.ids) + size - 1) / size});
    }
    return static_cast<uint64_t>(most) + kTokens / static_cast<uint64_t>(settings_.block_size) + 2 +
           random_() % 10;
  }

  /// Requests [begin, end) of a model that is just loaded.
  void ask(size_t begin, size_t end, size_t at_once) {
    const auto model = load(spec_, settings_);
    Asker asker(*model);
    std::vector<std::pair<size_t, size_t>> heard;  // answer, request
    for (size_t r = begin; r < end; ++r) {
      while (asker.session.alive() >= at_once) asker.session.step();
      const size_t answer = asker.submit(requests_[r].prompt, requests_[r].spans, kTokens);
      for (size_t steps = random_() % 3; steps > 0; --steps) asker.session.step();
      if (random_() % 8 == 0)
        asker.session.cancel(asker.sequences[answer]);
      else
        heard.emplace_back(answer, r);
      if (random_() % 4 == 0)
        model->runtime()->kept->make_room(static_cast<int32_t>(
            random_() % static_cast<uint32_t>(model->runtime()->pool->sizes().blocks.full + 1)));
    }
    asker.run();
    for (const auto& [answer, r] : heard) {
      BOOST_TEST((asker.answers[answer].tokens == answers_[r].tokens), "request " << r);
      BOOST_TEST((asker.answers[answer].logprobs == answers_[r].logprobs), "request " << r);
    }
    BOOST_TEST(blocks_in_use(*model) == 0);
  }

  const ModelSpec& spec_;
  const TemporaryFolder folder_;
  Random random_;
  Settings settings_;
  std::vector<Asked> requests_;
  std::vector<Answer> answers_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(nothing_that_happens_to_a_cache_changes_an_answer) {
  const auto models = random_models(spnl::modelkit::TensorType::kF32);
  for (size_t i = 0; i < session_count(); ++i) {
    BOOST_TEST_CONTEXT("session " << i << ", " << models[i % models.size()].first) {
      constexpr size_t kAtOnce[] = {1, 4, 16};
      RandomSession(models[i % models.size()].second, static_cast<uint32_t>(i))
          .run(kAtOnce[i % std::size(kAtOnce)]);
    }
  }
}
