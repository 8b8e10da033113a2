// Guesses change the speed and nothing else.
#include "engine/speculation.h"

#include <boost/test/unit_test.hpp>
#include <random>

#include "client.h"
#include "engine/mailbox.h"
#include "engine/ngram_index.h"

using namespace spnl::mistralrs;
using namespace spnl::mistralrs::test;
namespace fs = std::filesystem;

namespace {

/// What followed the latest earlier occurrence of the last three ids, by looking everywhere.
std::vector<int32_t> guess(std::vector<int32_t> ids, size_t count) {
  if (ids.size() < 4) return {};
  const size_t n = ids.size();
  for (size_t end = n - 1; end >= 3; --end) {
    if (!std::equal(ids.end() - 3, ids.end(), ids.begin() + static_cast<std::ptrdiff_t>(end) - 3))
      continue;
    for (size_t i = 0; i < count; ++i) ids.push_back(int32_t{ids[end + i]});
    return {ids.begin() + static_cast<std::ptrdiff_t>(n), ids.end()};
  }
  return {};
}

struct Heard {
  std::vector<int32_t> tokens, top_ids;
  std::vector<float> logprobs;
  std::string text;
  std::optional<Finish> finish;
  bool operator==(const Heard&) const = default;
};

Request request(std::vector<int32_t> ids) {
  Request r;
  r.prompt = std::move(ids);
  r.sampling.max_tokens = 60;
  r.sampling.params.seed = 11;
  return r;
}

/// Only three tokens can come, so the text repeats itself now and then.
void narrow(spnl::modelkit::SamplingRequest& sampling) {
  for (const int32_t id : {20, 21, 22}) sampling.params.logit_biases.emplace_back(id, 1000.0f);
}

/// All samples of the requests, run together.
std::vector<Heard> run(Model& model, const std::vector<Request>& requests) {
  std::vector<Heard> heard(requests.size() * 2);
  Session session(
      model,
      [&](const Event& e) {
        Heard& h = heard[e.sequence->request->user_id * 2 + e.sequence->sample];
        h.text += e.text;
        if (e.finished) {
          h.finish = e.sequence->finish;
          BOOST_TEST(e.sequence->output_tokens() == h.tokens.size());
        } else {
          h.tokens.push_back(e.token);
          h.logprobs.push_back(e.logprob);
          h.top_ids.insert(h.top_ids.end(), e.top_ids.begin(), e.top_ids.end());
        }
        return 0;
      },
      [](const std::string&) {});
  for (size_t i = 0; i < requests.size(); ++i) {
    Request r = requests[i];
    r.user_id = i;
    uint64_t id = 0;
    BOOST_TEST(session.submit(std::move(r), id));
  }
  for (int steps = 0; session.step() > 0; ++steps) BOOST_TEST_REQUIRE(steps < 20000);
  return heard;
}

/// One request for each way to choose tokens and to end.
std::vector<Request> all_kinds(const Model& model) {
  std::vector<int32_t> ids = prompt(4, 24);
  ids.insert(ids.end(), ids.begin(), ids.end() - 2);  // repeats itself
  std::vector<Request> all;
  const auto add = [&](auto change) {
    Request r = request(ids);
    change(r.sampling);
    all.push_back(std::move(r));
  };
  add([](auto&) {});
  add([](auto& s) { narrow(s); });
  add([](auto& s) {
    narrow(s);
    s.params.temperature = 0.7f;
  });
  add([](auto& s) {
    s.params.temperature = 1;
    s.params.top_k = 5;
    s.samples = 2;
  });
  add([](auto& s) {
    s.params.repeat_penalty = 1.3f;
    s.params.frequency_penalty = 0.2f;
  });
  add([](auto& s) { s.params.dry.multiplier = 0.8f; });
  add([&](auto& s) {
    s.params.min_tokens = 20;
    s.params.end_ids = model.bundle().eos;
  });
  add([](auto& s) {
    s.want_logprobs = true;
    s.top_logprobs = 3;
  });
  for (const uint32_t most : {1u, 2u, 7u, 31u}) add([&](auto& s) { s.max_tokens = most; });
  all.push_back(request(prompt(4, 1)));
  return all;
}

std::unique_ptr<Model> load_with(const fs::path& path, Speculate speculate, Settings s = base()) {
  s.speculate = speculate;
  s.threads = 1;
  return load(path, s);
}

}  // namespace

BOOST_AUTO_TEST_CASE(guesses_are_what_followed_the_last_time) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    NgramIndex index;
    std::vector<int32_t> ids, got;
    const auto letters = 2 + random() % 4;
    while (ids.size() < 60) {
      for (auto more = random() % 5; more > 0; --more)
        ids.push_back(static_cast<int32_t>(random() % letters));
      const size_t count = random() % 9;
      index.propose(ids, count, got);
      BOOST_TEST(got == guess(ids, count), boost::test_tools::per_element());
    }
  }
}

BOOST_AUTO_TEST_CASE(text_is_the_same_with_and_without) {
  const fs::path shared = fs::path(SPNL_SHARED_DIR) / "fixtures/hf";
  std::vector<fs::path> paths{kModel};
  for (const char* name : {"mixtral", "gemma2", "phi3-longrope", "deepseek_v3"})
    if (fs::exists(shared / name)) paths.push_back(shared / name);
  for (const fs::path& path : paths) {
    const auto off = load_with(path, Speculate::kOff), always = load_with(path, Speculate::kNgram),
               choosing = load_with(path, Speculate::kAuto);
    std::vector<Request> requests = all_kinds(*off);
    const std::vector<Heard> plain = run(*off, requests);
    // Stops at a text that came.
    if (plain[0].text.size() > 6) {
      requests.push_back(requests[0]);
      requests.back().sampling.stops = {plain[0].text.substr(plain[0].text.size() / 2, 3)};
    }
    const std::vector<Heard> want = run(*off, requests);
    for (const auto& model : {&always, &choosing}) {
      const std::vector<Heard> got = run(**model, requests);
      for (size_t i = 0; i < want.size(); ++i)
        BOOST_TEST((got[i] == want[i]), path.filename() << " request " << i / 2);
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      const std::vector<Heard> got = run(*always, {requests[i]});
      BOOST_TEST((got[0] == want[2 * i]), path.filename() << " alone, request " << i);
    }
    BOOST_TEST(off->runtime()->counters.guesses == 0u);
    BOOST_TEST(always->runtime()->counters.right_guesses > 20u, path.filename());
    BOOST_TEST(always->runtime()->counters.guesses >
               always->runtime()->counters.right_guesses);  // wrong ones too
    BOOST_TEST(used_by_sequences(*always) == 0);
    BOOST_TEST(used_by_sequences(*choosing) == 0);
  }
}

BOOST_AUTO_TEST_CASE(guesses_fit_the_context_and_the_pool) {
  Settings small = base();
  small.max_context = 64;
  Settings tiny = base();
  tiny.block_size = 4;
  const auto probe = load(kModel, base());
  tiny.kv_bytes =
      20 *
      KvCache::block_bytes(probe->bundle().spec, probe->runtime()->cache->layer(0).type, 4).both();
  for (const Settings& settings : {small, tiny}) {
    const auto off = load_with(kModel, Speculate::kOff, settings),
               always = load_with(kModel, Speculate::kNgram, settings);
    std::vector<Request> requests;
    for (int i = 0; i < 6; ++i) {
      requests.push_back(request(prompt(4, 20 + i)));
      requests.back().sampling.max_tokens = 0;
      narrow(requests.back().sampling);
    }
    const auto want = run(*off, requests), got = run(*always, requests);
    for (size_t i = 0; i < want.size(); i += 2)
      BOOST_TEST((got[i] == want[i]), "request " << i / 2);
    BOOST_TEST(always->runtime()->counters.right_guesses > 0u);
    BOOST_TEST(used_by_sequences(*always) == 0);
  }
}

namespace {

/// How long a text takes in steps of 1 ms that grow by `cost` of it for each guess, as a share of
/// its time without guesses.
double simulate(const Model& model, const std::vector<int32_t>& text, double cost) {
  BlockPool pool(static_cast<int32_t>(text.size()) + 16);
  Mailbox mailbox;
  Request r;
  r.prompt = {text[0]};
  const BlockCache nothing(pool, 1, 0, {});
  const auto plan_of_one = plan_spans(r.prompt, r.spans, false, nothing);
  const auto sequence = std::make_shared<Sequence>(std::make_shared<const Request>(std::move(r)),
                                                   plan_of_one, 0, mailbox, pool, 1);
  Speculator speculator(model, Speculate::kAuto);
  sequence->ids.push_back(text[1]);
  sequence->computed = 1;
  std::vector<Chunk> plan;
  double seconds = 0;
  while (sequence->ids.size() < text.size()) {
    plan.assign(1, {sequence.get(), 1, true});
    speculator.propose(plan);
    sequence->right_guesses = 0;
    for (;;) {  // as the model says it
      const int32_t next = text[sequence->ids.size()];
      sequence->ids.push_back(next);
      const size_t n = sequence->right_guesses;
      if (n == sequence->guesses.size() || sequence->guesses[n] != next ||
          sequence->ids.size() == text.size())
        break;
      ++sequence->right_guesses;
    }
    const double step = 1e-3 * (1 + cost * static_cast<double>(sequence->guesses.size()));
    speculator.settle(
        plan, std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(step)));
    seconds += step;
  }
  return seconds / (1e-3 * static_cast<double>(text.size() - 2));
}

}  // namespace

BOOST_AUTO_TEST_CASE(guessing_costs_little_where_it_does_not_help_and_helps_where_it_can) {
  const auto model = load(kModel, base());
  const auto length = static_cast<size_t>(model->context()) - 8;
  std::mt19937 random(5);
  for (const unsigned letters : {4u, 8u, 30u, 200u}) {  // trigrams come again often, to never
    std::vector<int32_t> text(length);
    for (int32_t& id : text) id = static_cast<int32_t>(random() % letters);
    for (const double cost : {0.05, 0.3, 1.0})
      BOOST_TEST(simulate(*model, text, cost) < 1.05, letters << " letters, cost " << cost);
  }
  std::vector<int32_t> text = prompt(1, static_cast<int>(length / 4));
  for (int i = 0; i < 3; ++i)
    text.insert(text.end(), text.begin(), text.begin() + static_cast<std::ptrdiff_t>(length / 4));
  BOOST_TEST(simulate(*model, text, 0.1) < 0.55);  // three quarters are quoted
}
