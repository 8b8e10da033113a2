// Many sessions of one model: shared steps, fair turns, bounded mail, nothing left behind.
#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <random>
#include <set>
#include <thread>

#include "client.h"
#include "engine/session.h"

using namespace spnl::mistralrs;
using namespace spnl::mistralrs::test;

namespace {

/// The threads are the sessions' here; a team of two would only spin.
Settings single() {
  Settings s = base();
  s.threads = 1;
  return s;
}

/// A pool of so many blocks of so many tokens.
Settings pool_of(int blocks, int block_size) {
  static const uint64_t token = [] {
    const auto model = load(kModel, single());
    return KvCache::block_bytes(model->bundle().spec, model->runtime()->cache->layer(0).type, 1)
        .both();
  }();
  Settings s = single();
  s.block_size = block_size;
  s.kv_bytes = token * static_cast<uint64_t>(blocks * block_size);
  return s;
}

uint64_t prefilled(Model& model) { return model.runtime()->counters.prefill_tokens; }

std::vector<int32_t> joined(std::vector<int32_t> head, const std::vector<int32_t>& tail) {
  head.insert(head.end(), tail.begin(), tail.end());
  return head;
}

}  // namespace

BOOST_AUTO_TEST_CASE(whoever_steps_steps_for_all) {
  const auto model = load(kModel, single());
  const auto want = alone(*model, prompt(2, 40), 12);
  Client a(*model), b(*model);
  a.submit(1, prompt(1, 40), 30);
  b.submit(1, prompt(2, 40), 12);
  for (int i = 0; i < 13; ++i) a.session.step();
  BOOST_TEST(b.at(1, 0).finishes == 0);  // only from inside its own step
  BOOST_TEST(b.session.step() == 0);     // all of it at once
  BOOST_TEST((b.at(1, 0).tokens == want));
  BOOST_TEST(b.at(1, 0).finishes == 1);
  a.run();
  BOOST_TEST(used_by_sequences(*model) == 0);
}

BOOST_AUTO_TEST_CASE(a_session_that_does_not_step_is_paused_and_gives_its_blocks_away) {
  const auto model = load(kModel, pool_of(32, 8));
  const auto ample = load(kModel, single());
  std::vector<std::vector<int32_t>> prompts{prompt(1, 60), prompt(2, 60), prompt(3, 60)};
  Client idle(*model), busy(*model);
  for (size_t i = 0; i < prompts.size(); ++i) idle.submit(i, prompts[i], 100);
  for (int i = 0; i < 3; ++i) idle.session.step();
  // Needs the whole pool, most of which the idle one holds.
  busy.submit(1, prompt(9, 200), 50);
  busy.run();
  BOOST_TEST((busy.at(1, 0).tokens == alone(*ample, prompt(9, 200), 50)));
  const size_t before = idle.at(0, 0).tokens.size();
  idle.session.step();
  BOOST_TEST(idle.at(0, 0).tokens.size() - before <= 64u);
  idle.run();
  for (size_t i = 0; i < prompts.size(); ++i)
    BOOST_TEST((idle.at(i, 0).tokens == alone(*ample, prompts[i], 100)), "request " << i);
  BOOST_TEST(used_by_sequences(*model) == 0);
}

BOOST_AUTO_TEST_CASE(endless_work_of_one_session_does_not_keep_another_waiting) {
  const auto model = load(kModel, pool_of(64, 8));
  const auto want = alone(*model, prompt(500, 50), 30);
  std::atomic<bool> done{false};
  std::thread other([&] {
    Client endless(*model);
    uint64_t next = 0;
    while (!done) {
      for (; endless.session.alive() < 40; ++next)
        endless.submit(next, prompt(static_cast<int>(next % 100), 40), 40);
      endless.session.step();
    }
    endless.session.close();
  });
  Client s(*model);
  s.submit(1, prompt(500, 50), 30);
  int steps = 0;
  while (s.session.step() > 0 && steps < 5000) ++steps;
  done = true;
  other.join();
  BOOST_TEST((s.at(1, 0).tokens == want));
  BOOST_TEST(steps < 1000);
  BOOST_TEST(used_by_sequences(*model) == 0);
}

BOOST_AUTO_TEST_CASE(sessions_take_turns_when_they_wait) {
  const auto model = load(kModel, pool_of(12, 8));  // for one at a time
  Client many(*model), one(*model);
  std::vector<uint64_t> finished;
  many.on_token = [&](const Event& e) {
    if (e.finished) finished.push_back(e.sequence->request->user_id);
    return 0;
  };
  for (uint64_t i = 0; i < 10; ++i) many.submit(i, prompt(static_cast<int>(i), 70), 8);
  one.submit(1, prompt(99, 70), 8);
  while (one.session.alive() > 0) {
    many.session.step();
    one.session.step();
  }
  BOOST_TEST(finished.size() <= 2u);
  many.run();
  BOOST_TEST(finished.size() == 10u);
  BOOST_TEST(std::is_sorted(finished.begin(), finished.end()));  // first come, first served
}

BOOST_AUTO_TEST_CASE(a_long_prompt_delays_other_sessions_by_a_factor_only) {
  const auto model = load(kModel, single());
  Client longer(*model), shorter(*model);
  longer.submit(1, prompt(1, static_cast<int>(model->context()) - 8), 4);
  shorter.submit(1, prompt(2, 100), 4);
  shorter.session.step();
  BOOST_TEST(shorter.at(1, 0).tokens.size() == 1u);
  longer.run();
  shorter.run();
}

BOOST_AUTO_TEST_CASE(a_pool_for_eight_serves_64_sequences_of_four_sessions) {
  const auto model = load(kModel, pool_of(8 * 6, 8));
  const auto ample = load(kModel, single());
  constexpr int kPerSession = 16;
  std::vector<std::unique_ptr<Client>> clients;
  for (int c = 0; c < 4; ++c) clients.push_back(std::make_unique<Client>(*model));
  std::vector<std::thread> threads;
  for (int c = 0; c < 4; ++c)
    threads.emplace_back([&, c] {
      for (int i = 0; i < kPerSession; ++i)
        clients[static_cast<size_t>(c)]->submit(static_cast<uint64_t>(i),
                                                prompt(c * kPerSession + i, 20 + i), 12);
      while (clients[static_cast<size_t>(c)]->session.step() > 0) {
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (int c = 0; c < 4; ++c)
    for (int i = 0; i < kPerSession; ++i) {
      const Result& r = clients[static_cast<size_t>(c)]->at(static_cast<uint64_t>(i), 0);
      BOOST_TEST(r.finishes == 1);
      BOOST_TEST((r.tokens == alone(*ample, prompt(c * kPerSession + i, 20 + i), 12)),
                 "session " << c << " request " << i);
    }
  BOOST_TEST(used_by_sequences(*model) == 0);
}

BOOST_AUTO_TEST_CASE(prompts_of_one_step_compute_their_common_beginning_once) {
  for (const int common : {64, 440}) {  // in one step, in several
    const auto model = load(kModel, single());
    const auto head = prompt(7, common);
    Client a(*model), b(*model);
    for (int i = 0; i < 5; ++i)
      (i % 2 == 0 ? a : b).submit(static_cast<uint64_t>(i), joined(head, prompt(50 + i, 20)), 4);
    a.submit(9, prompt(8, 10), 4);  // not delayed by them
    a.session.step();
    if (common == 64) BOOST_TEST(a.at(9, 0).tokens.size() == 1u);
    a.run();
    b.run();
    BOOST_TEST(prefilled(*model) <= static_cast<uint64_t>(common + 5 * (20 + 32) + 10));
    Settings off = single();
    off.prefix_entries = 0;
    const auto cold = load(kModel, off);
    for (int i = 0; i < 5; ++i) {
      const auto want = alone(*cold, joined(head, prompt(50 + i, 20)), 4);
      BOOST_TEST(((i % 2 == 0 ? a : b).at(static_cast<uint64_t>(i), 0).tokens == want));
    }
    BOOST_TEST(used_by_sequences(*model) == 0);
  }
}

// So that a quote of what a model wrote before it was loaded again is none of what it writes now.
BOOST_AUTO_TEST_CASE(no_two_requests_of_a_process_have_the_same_id) {
  std::set<uint64_t> ids;
  for (int load_again = 0; load_again < 2; ++load_again) {
    const auto model = load(kModel, single());
    Client a(*model), b(*model);
    for (Client* client : {&a, &b})
      BOOST_TEST(ids.insert(client->submit(1, prompt(1, 10), 1)).second);
  }
}

BOOST_AUTO_TEST_CASE(counters_are_true_between_steps) {
  const auto model = load(kModel, single());
  const Counters& c = model->runtime()->counters;
  Client a(*model);
  {
    Client b(*model);
    a.submit(1, prompt(1, 10), 40, 3);
    b.submit(1, prompt(2, 10), 40);
    BOOST_TEST(c.running == 0u);
    BOOST_TEST(c.waiting == 4u);
    a.session.step();
    BOOST_TEST(c.running == 4u);
    BOOST_TEST(c.waiting == 0u);
    BOOST_TEST(c.cache_bytes > 0u);
    b.session.close();
    BOOST_TEST((b.at(1, 0).finish == Finish::kCancelled));
    BOOST_TEST(c.running == 3u);
  }
  a.session.close();
  BOOST_TEST(c.running + c.waiting == 0u);
  BOOST_TEST(used_by_sequences(*model) == 0);
}

BOOST_AUTO_TEST_CASE(closing_frees_at_once_while_others_go_on) {
  const auto model = load(kModel, single());
  Client stays(*model);
  stays.submit(1, prompt(1, 30), 200);
  for (int i = 0; i < 20; ++i) {
    Client goes(*model);
    for (uint64_t r = 0; r < 4; ++r) goes.submit(r, prompt(static_cast<int>(r), 60), 0, 2, 1.0f);
    const auto cancelled = goes.submit(9, prompt(3, 60), 0);
    goes.session.step();
    goes.session.cancel(cancelled);
    stays.session.step();
    goes.session.close();
    for (uint64_t r = 0; r < 4; ++r)
      for (uint32_t sample = 0; sample < 2; ++sample) BOOST_TEST(goes.at(r, sample).finishes == 1);
    BOOST_TEST(goes.at(9, 0).finishes == 1);
    model->runtime()->kept->clear();
    BOOST_TEST(model->runtime()->pool->used_blocks() <= 8);  // of the one that stays
  }
  stays.session.close();
  BOOST_TEST(used_by_sequences(*model) == 0);
}

// What a sequence says depends on nothing but itself: not on its mates, when they come and go, how
// prompts are cut, what is cached, or how often memory ran short.
BOOST_AUTO_TEST_CASE(greedy_tokens_are_the_same_in_200_random_mixes) {
  constexpr size_t kPrompts = 24, kTokens = 16;
  const auto ample = load(kModel, single());
  const auto common = prompt(1000, 40);
  std::vector<std::vector<int32_t>> prompts, want;
  for (size_t i = 0; i < kPrompts; ++i) {
    const auto own = prompt(static_cast<int>(i), static_cast<int>(1 + i * i % 83));
    prompts.push_back(i % 3 == 0 ? joined(common, own) : own);
    want.push_back(alone(*ample, prompts.back(), kTokens));
  }
  const std::unique_ptr<Model> models[] = {load(kModel, single()), load(kModel, pool_of(40, 8)),
                                           load(kModel, pool_of(200, 1))};
  std::mt19937 random(17);
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  for (int mix = 0; mix < 200; ++mix) {
    Model& model = *models[mix % 3];
    Client a(model), b(model);
    std::vector<size_t> of_request;
    const size_t requests = 1 + below(9);
    for (size_t r = 0; r < requests; ++r) {
      of_request.push_back(below(kPrompts));
      Client& client = below(2) == 0 ? a : b;
      const uint64_t id =
          client.submit(r, prompts[of_request[r]], kTokens, static_cast<uint32_t>(1 + below(2)), 0);
      if (below(8) == 0) client.session.cancel(id);
      for (size_t i = below(5); i > 0; --i) (below(2) == 0 ? a : b).session.step();
    }
    a.run();
    b.run();
    for (const Client* client : {&a, &b})
      for (const auto& [key, result] : client->results) {
        if (result.finish == Finish::kCancelled) continue;
        BOOST_TEST((result.tokens == want[of_request[key.first]]), "mix " << mix);
      }
  }
  for (const auto& model : models) BOOST_TEST(used_by_sequences(*model) == 0);
}
