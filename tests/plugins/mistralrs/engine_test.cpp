#include <boost/test/unit_test.hpp>
#include <thread>

#include "client.h"
#include "spnl/modelkit/error.h"

using namespace spnl::mistralrs;
using namespace spnl::mistralrs::test;
namespace fs = std::filesystem;

BOOST_AUTO_TEST_CASE(tokens_do_not_depend_on_batch_mates) {
  const auto model = load(kModel, base());
  std::vector<std::vector<int32_t>> prompts, want;
  for (int i = 0; i < 7; ++i) prompts.push_back(prompt(i, 1 + i * 23));
  for (const auto& p : prompts) want.push_back(alone(*model, p, 20));
  Client s(*model);
  for (size_t i = 0; i < prompts.size(); ++i) {
    s.submit(i, prompts[i], 20);
    s.session.step();  // they join while others decode
  }
  s.run();
  for (size_t i = 0; i < prompts.size(); ++i) {
    BOOST_TEST((s.at(i, 0).tokens == want[i]), "request " << i);
    BOOST_TEST(s.at(i, 0).finishes == 1);
  }
  BOOST_TEST(used_by_sequences(*model) == 0);
}

BOOST_AUTO_TEST_CASE(every_way_to_cache_gives_the_same_tokens) {
  const std::vector<int32_t> ids = prompt(3, 100);
  const std::vector<int32_t> want = alone(*load(kModel, base()), ids, 24);
  BOOST_TEST(!want.empty());
  for (const int block_size : {1, 3, 32, 1024}) {
    Settings s = base();
    s.block_size = block_size;
    const auto model = load(kModel, s);
    BOOST_TEST((alone(*model, ids, 24) == want), "block size " << block_size);
    BOOST_TEST((alone(*model, ids, 24) == want),
               "again from the prefix cache, block size " << block_size);
  }
  Settings contiguous = base();
  contiguous.paged = false;
  BOOST_TEST((alone(*load(kModel, contiguous), ids, 24) == want));
  for (const auto type : {cpu::KvType::kF32, cpu::KvType::kF16, cpu::KvType::kBF16}) {
    Settings s = base();
    s.kv_type = type;
    BOOST_TEST(alone(*load(kModel, s), ids, 24).size() == want.size());
  }
  Settings in_bytes = base();
  in_bytes.kv_type = cpu::KvType::kQ8_0;  // its heads have 16 elements
  BOOST_CHECK_EXCEPTION(load(kModel, in_bytes), spnl::modelkit::Error, [](const auto& e) {
    return std::string(e.what()).find("use the KV type f16") != std::string::npos;
  });
}

BOOST_AUTO_TEST_CASE(prefix_is_reused_and_changes_nothing) {
  const auto model = load(kModel, base());
  const std::vector<int32_t> shared = prompt(1, 90);
  std::vector<int32_t> longer = shared;
  for (const int32_t id : prompt(2, 30)) longer.push_back(id);
  Settings off = base();
  off.prefix_entries = 0;
  const auto cold = load(kModel, off);
  const auto want = alone(*cold, longer, 16);
  Client s(*model);
  s.submit(1, shared, 4);
  s.run();
  s.submit(2, longer, 16);
  s.run();
  s.submit(3, longer, 16);
  s.run();
  BOOST_TEST(s.at(1, 0).cached == 0);
  BOOST_TEST(s.at(2, 0).cached == 90);  // two blocks of 32 and a copy of the begun one
  BOOST_TEST(s.at(3, 0).cached == 119);
  BOOST_TEST((s.at(2, 0).tokens == want));
  BOOST_TEST((s.at(3, 0).tokens == want));
  Client none(*cold);
  none.submit(1, longer, 2);
  none.run();
  none.submit(2, longer, 2);
  none.run();
  BOOST_TEST(none.at(2, 0).cached == 0);
}

BOOST_AUTO_TEST_CASE(samples_share_one_prefill) {
  const auto model = load(kModel, base());
  const std::vector<int32_t> ids = prompt(5, 70);
  const auto before = model->runtime()->counters.prefill_tokens;
  Client s(*model);
  s.submit(1, ids, 12, 5, 0);
  s.submit(2, ids, 12, 3, 1.5f);
  s.run();
  const auto want = alone(*model, ids, 12);
  for (uint32_t i = 0; i < 5; ++i) BOOST_TEST((s.at(1, i).tokens == want), "sample " << i);
  BOOST_TEST((s.at(2, 0).tokens != s.at(2, 1).tokens));
  BOOST_TEST(model->runtime()->counters.prefill_tokens - before <= 2 * ids.size() + 70);
  Client again(*model);  // draws depend on seed and sample alone
  again.submit(2, ids, 12, 3, 1.5f);
  again.run();
  for (uint32_t i = 0; i < 3; ++i)
    BOOST_TEST((again.at(2, i).tokens == s.at(2, i).tokens), "sample " << i);
  BOOST_TEST(used_by_sequences(*model) == 0);
}

BOOST_AUTO_TEST_CASE(a_tiny_pool_makes_requests_wait_and_changes_nothing) {
  Settings tiny = base();
  tiny.block_size = 4;
  const auto roomy = load(kModel, base());
  std::vector<std::vector<int32_t>> prompts;
  for (int i = 0; i < 8; ++i) prompts.push_back(prompt(20 + i, 10 + 3 * i));
  const uint64_t block =
      KvCache::block_bytes(roomy->bundle().spec, roomy->runtime()->cache->layer(0).type,
                           tiny.block_size)
          .both();
  tiny.kv_bytes = 18 * block;  // 72 tokens; each request needs up to 51
  const auto model = load(kModel, tiny);
  Client s(*model);
  for (size_t i = 0; i < prompts.size(); ++i) s.submit(i, prompts[i], 20, 2);
  s.run();
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto want = alone(*roomy, prompts[i], 20);
    for (uint32_t sample = 0; sample < 2; ++sample)
      BOOST_TEST((s.at(i, sample).tokens == want), "request " << i << " sample " << sample);
  }
  BOOST_TEST(used_by_sequences(*model) == 0);
  // Grows past the pool: ends as if the context were full.
  s.submit(100, prompt(1, 60), 0);
  s.run();
  BOOST_TEST((s.at(100, 0).finish == Finish::kLength || s.at(100, 0).finish == Finish::kEos));
  BOOST_TEST(used_by_sequences(*model) == 0);
  uint64_t id = 0;
  Request r;
  r.prompt = prompt(1, 73);
  BOOST_CHECK_EXCEPTION(
      s.session.submit(std::move(r), id), spnl::modelkit::Error,
      [](const auto& e) { return std::string(e.what()).find("73") != std::string::npos; });
}

BOOST_AUTO_TEST_CASE(cancel_ends_a_request_with_one_finish_and_frees_its_blocks) {
  const auto model = load(kModel, base());
  Client s(*model);
  const auto a = s.submit(1, prompt(1, 40), 0, 3, 1.0f);
  s.submit(2, prompt(2, 40), 8);
  for (int i = 0; i < 4; ++i) s.session.step();
  s.session.cancel(a);
  s.session.cancel(a);
  s.session.cancel(12345);
  s.run();
  for (uint32_t i = 0; i < 3; ++i) BOOST_TEST(s.at(1, i).finishes == 1);
  BOOST_TEST((s.at(1, 0).finish == Finish::kCancelled || s.at(1, 0).finish == Finish::kEos));
  BOOST_TEST((s.at(2, 0).tokens == alone(*model, prompt(2, 40), 8)));
  const auto waiting = s.submit(3, prompt(3, 40), 0, 2);
  s.session.cancel(waiting);  // before it ever ran, followers and all
  s.run();
  BOOST_TEST(s.at(3, 1).finishes == 1);
  s.on_token = [](const Event& e) { return e.finished ? 0 : 1; };  // from the callback
  s.submit(4, prompt(4, 10), 0);
  s.run();
  BOOST_TEST(s.at(4, 0).tokens.size() <= 1u);
  BOOST_TEST(s.at(4, 0).finishes == 1);
  s.on_token = nullptr;
  s.submit(5, prompt(5, 10), 0);
  s.session.close();
  BOOST_TEST((s.at(5, 0).finish == Finish::kCancelled));
  BOOST_TEST(s.session.alive() == 0);
  BOOST_TEST(used_by_sequences(*model) == 0);
}

BOOST_AUTO_TEST_CASE(a_full_context_finishes_with_length_and_a_note) {
  Settings small = base();
  small.max_context = 48;
  const auto model = load(kModel, small);
  Client s(*model);
  s.submit(1, prompt(9, 40), 0);
  s.submit(2, prompt(9, 48), 0);
  s.run();
  const Result& r = s.at(1, 0);
  BOOST_TEST((r.finish == Finish::kEos || (r.finish == Finish::kLength && r.tokens.size() == 8)));
  BOOST_TEST((s.at(2, 0).finish == Finish::kLength));
  BOOST_TEST(s.at(2, 0).tokens.empty());
  BOOST_TEST(!s.notes.empty());
  uint64_t id = 0;
  Request r2;
  r2.prompt = prompt(1, 49);
  BOOST_CHECK_THROW(s.session.submit(std::move(r2), id), spnl::modelkit::Error);
  Request bad;
  bad.prompt = {1, 1 << 30};
  BOOST_CHECK_THROW(s.session.submit(std::move(bad), id), spnl::modelkit::Error);
  Request empty;
  BOOST_CHECK_THROW(s.session.submit(std::move(empty), id), spnl::modelkit::Error);
}

BOOST_AUTO_TEST_CASE(long_prompts_are_prefilled_in_chunks) {
  const auto model = load(kModel, base());
  const auto ids = prompt(77, std::min<int>(700, static_cast<int>(model->context()) - 8));
  const auto want = alone(*model, ids, 6);
  Client s(*model);
  s.submit(1, ids, 6);
  s.submit(2, prompt(3, 20), 6);
  s.run();
  BOOST_TEST((s.at(1, 0).tokens == want));
  BOOST_TEST((s.at(2, 0).tokens == alone(*model, prompt(3, 20), 6)));
}

BOOST_AUTO_TEST_CASE(sessions_on_two_threads_take_turns) {
  const auto model = load(kModel, base());
  const auto want1 = alone(*model, prompt(1, 30), 30), want2 = alone(*model, prompt(2, 50), 30);
  Client a(*model), b(*model);
  a.submit(1, prompt(1, 30), 30);
  b.submit(1, prompt(2, 50), 30);
  std::thread other([&] { b.run(); });
  a.run();
  other.join();
  BOOST_TEST((a.at(1, 0).tokens == want1));
  BOOST_TEST((b.at(1, 0).tokens == want2));
}

// Each token is that of a fresh forward over all before it, on both sides of the border between
// short and long rotary frequencies; no block of one kind serves the other.
BOOST_AUTO_TEST_CASE(a_sequence_that_grows_past_the_border_is_computed_again) {
  const fs::path path = fs::path(SPNL_SHARED_DIR) / "fixtures/hf/phi3-longrope";
  if (!fs::exists(path)) {
    BOOST_TEST_MESSAGE("skipped, not here: " << path);
    return;
  }
  Settings settings = base();
  settings.block_size = 8;
  const auto model = load(path, settings);
  const int64_t border = model->bundle().spec.ropes.at(0).long_from;
  BOOST_TEST_REQUIRE(border > 16);
  BOOST_TEST(!model->turns_long(border));
  BOOST_TEST(model->turns_long(border + 1));
  std::vector<int32_t> ids = prompt(3, static_cast<int>(border) - 8), want;
  for (int i = 0; i < 16; ++i) {
    const auto logits = last_logits(*model, ids);
    want.push_back(
        static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    ids.push_back(want.back());
  }
  const auto head = prompt(3, static_cast<int>(border) - 8);
  BOOST_TEST(alone(*model, head, 16) == want, boost::test_tools::per_element());
  // What the first request left in the prefix cache holds blocks of both kinds.
  Client s(*model);
  s.submit(1, head, 16);
  s.submit(2, ids, 1);
  s.submit(3, prompt(4, 20), 16, 3);
  s.run();
  BOOST_TEST(s.at(1, 0).tokens == want, boost::test_tools::per_element());
  BOOST_TEST(s.at(1, 0).cached > 0);
  BOOST_TEST(s.at(2, 0).cached > 0);
  BOOST_TEST(used_by_sequences(*model) == 0);
}

BOOST_AUTO_TEST_CASE(greedy_ids_are_the_oracles) {
  const fs::path shared = fs::path(SPNL_SHARED_DIR) / "fixtures";
  // qwen2's output has rows beyond its tokenizer, one of which wins.
  for (const char* name : {"llama3-rope", "mistral", "mixtral", "gemma2", "phi", "olmo2", "cohere",
                           "phi3-longrope", "phimoe", "deepseek_v3", "gpt_oss", "qwen2"}) {
    const fs::path path = shared / "hf" / name;
    if (!fs::exists(path)) {
      BOOST_TEST_MESSAGE("skipped, not here: " << path);
      continue;
    }
    const auto model = load(path, base());
    for (const Expected& e : read_expected(shared / "hf" / name / "expected.json")) {
      const auto got = alone(*model, e.ids, e.greedy.size());
      for (size_t i = 0; i < e.greedy.size() && !model->is_eos(e.greedy[i]); ++i)
        BOOST_TEST((i < got.size() && got[i] == e.greedy[i]),
                   name << " " << e.name << " token " << i);
    }
  }
}
