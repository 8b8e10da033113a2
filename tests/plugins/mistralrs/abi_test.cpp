// mistralrs over its ABI, as a host sees it: the built library, opened like a host opens it.
#include <dlfcn.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>
#include <vector>

#include "fixtures.h"
#include "plugin_harness.h"

using namespace spnl::test;
namespace fs = std::filesystem;

/// What the harness calls: the entry of the library, which stays open.
const spnl_backend* spnl_backend_v1(void) {
  static void* library = dlopen(SPNL_MISTRALRS_PLUGIN, RTLD_NOW | RTLD_LOCAL);
  BOOST_TEST_REQUIRE(library != nullptr, dlerror());
  return reinterpret_cast<const spnl_backend* (*)()>(dlsym(library, SPNL_ENTRY_SYMBOL))();
}

namespace {

const fs::path kFolder = fs::path(SPNL_TEST_FIXTURES_DIR) / "gguf";

struct Fixture {
  FakeHost host;
  EventLog log;
  uint64_t sequence = 0;
  Fixture() {
    host.file = (kFolder / "llama-bf16.gguf").string();
    host.config["kv_memory"] = "16M";
  }
  ~Fixture() { BOOST_TEST(log.faults.empty()); }
  const SampleLog& sample(uint32_t index = 0) { return log.samples[{sequence, index}]; }
};

const PromptOf kPrompt(std::vector<int32_t>{1, 40, 50, 60});

void expect_load_failure(FakeHost& host, spnl_status status, const std::string& word,
                         std::vector<std::pair<std::string, std::string>> options = {}) {
  Opened opened(host, std::move(options));
  BOOST_TEST(opened.load_status == status, opened.error.message);
  BOOST_TEST(std::string(opened.error.message).find(word) != std::string::npos,
             opened.error.message);
}

}  // namespace

BOOST_AUTO_TEST_CASE(generation_events_and_usage) {
  Fixture f;
  Opened opened(f.host);
  BOOST_TEST_REQUIRE(opened.load_status == SPNL_OK, opened.error.message);
  BOOST_TEST_REQUIRE(opened.open_session(f.log) == SPNL_OK);
  BOOST_TEST_REQUIRE(opened.submit(kPrompt, sampling_of(5), f.sequence) == SPNL_OK,
                     opened.error.message);
  opened.run();
  const SampleLog& s = f.sample();
  BOOST_TEST(s.finishes == 1);
  BOOST_TEST(s.usage.prompt_tokens == 4u);
  BOOST_TEST(s.usage.output_tokens == s.ids.size());
  BOOST_TEST(s.usage.first_token_ns >= s.usage.queue_ns);
  BOOST_TEST(s.fragment_tokens == std::vector<uint64_t>{4}, boost::test_tools::per_element());
  spnl_stats stats{};
  stats.struct_size = sizeof stats;
  BOOST_TEST(opened.backend.stats(opened.model, &stats, nullptr) == SPNL_OK);
  BOOST_TEST(stats.prefill_tokens == 4u);
  BOOST_TEST(stats.bytes_weights > 0u);
  BOOST_TEST(stats.bytes_cache_limit <= 16u << 20);
}

BOOST_AUTO_TEST_CASE(stop_strings_samples_cancel_and_prefill_only) {
  Fixture f;
  Opened opened(f.host);
  BOOST_TEST_REQUIRE(opened.open_session(f.log) == SPNL_OK, opened.error.message);
  BOOST_TEST(opened.submit(kPrompt, sampling_of(20), f.sequence) == SPNL_OK);
  opened.run();
  const SampleLog free_run = f.sample();
  if (free_run.text.size() > 4) {
    const std::string stop = free_run.text.substr(2, 2);
    const spnl_str stops[] = {spnl::abi::str(stop)};
    spnl_sampling sampling = sampling_of(20);
    sampling.set |= SPNL_SET_STOPS;
    sampling.n_stops = 1;
    sampling.stops = stops;
    BOOST_TEST(opened.submit(kPrompt, sampling, f.sequence) == SPNL_OK);
    opened.run();
    BOOST_TEST(f.sample().reason == SPNL_FIN_STOP);
    BOOST_TEST(f.sample().text == free_run.text.substr(0, free_run.text.find(stop)));
  }
  spnl_sampling warm = sampling_of(6, 3);
  warm.set |= SPNL_SET_TEMPERATURE | SPNL_SET_SEED | SPNL_SET_TOP_LOGPROBS;
  warm.temperature = 2.0f;
  warm.top_logprobs = 2;
  BOOST_TEST(opened.submit(kPrompt, warm, f.sequence) == SPNL_OK);
  opened.run();
  for (uint32_t i = 0; i < 3; ++i) {
    BOOST_TEST(f.sample(i).finishes == 1);
    BOOST_TEST(f.sample(i).logprobs.size() == f.sample(i).ids.size());
    for (const float p : f.sample(i).logprobs) BOOST_TEST(p <= 0);
  }
  BOOST_TEST(opened.submit(kPrompt, sampling_of(0), f.sequence) == SPNL_OK);
  opened.step();
  BOOST_TEST(opened.backend.cancel(opened.session, f.sequence) == SPNL_OK);
  opened.run();
  BOOST_TEST(f.sample().reason == SPNL_FIN_CANCELLED);
  BOOST_TEST(opened.submit(kPrompt, sampling_of(9), f.sequence, SPNL_REQ_PREFILL_ONLY) == SPNL_OK);
  opened.run();
  BOOST_TEST(f.sample().reason == SPNL_FIN_LENGTH);
  BOOST_TEST(f.sample().ids.empty());
  BOOST_TEST(opened.submit(kPrompt, sampling_of(0), f.sequence) == SPNL_OK);
  opened.backend.session_close(opened.session);
  opened.session = nullptr;
  BOOST_TEST(f.sample().reason == SPNL_FIN_CANCELLED);
}

namespace {

/// Two fragments of 40 tokens, the first of them inside an ordered one, between 5 tokens and 3.
struct TwoFragments {
  TwoFragments() {
    ids[0] = {1, 40, 50, 60, 70};
    for (int32_t i = 0; i < 40; ++i) {
      ids[3].push_back(30 + i);
      ids[4].push_back(80 + i);
    }
    ids[5] = {90, 91, 92};
    const int32_t kinds[] = {SPNL_FRAG_TOKENS, SPNL_FRAG_INDEPENDENT, SPNL_FRAG_ORDERED,
                             SPNL_FRAG_TOKENS, SPNL_FRAG_TOKENS,      SPNL_FRAG_TOKENS};
    const int32_t parents[] = {-1, -1, 1, 2, 1, -1};
    for (size_t i = 0; i < ids.size(); ++i) {
      fragments[i].struct_size = sizeof fragments[i];
      fragments[i].kind = kinds[i];
      fragments[i].parent = parents[i];
      fragments[i].tokens = ids[i].data();
      fragments[i].n_tokens = static_cast<uint32_t>(ids[i].size());
      pointers.push_back(&fragments[i]);
    }
    prompt.struct_size = sizeof prompt;
    prompt.n_fragments = static_cast<uint32_t>(pointers.size());
    prompt.fragments = pointers.data();
    request.struct_size = sizeof request;
    request.prompt = &prompt;
    request.sampling = &sampling;
    request.span_mode = SPNL_SPAN_BLOCK;
  }
  TwoFragments(const TwoFragments&) = delete;
  TwoFragments& operator=(const TwoFragments&) = delete;

  /// Tokens of the prompt that were cached.
  uint64_t ask(Opened& opened, Fixture& f) const {
    BOOST_TEST_REQUIRE(
        opened.backend.submit(opened.session, &request, &f.sequence, &opened.error) == SPNL_OK,
        opened.error.message);
    opened.run();
    BOOST_TEST(f.sample().usage.prompt_tokens == 5u + 40 + 40 + 3);
    return f.sample().usage.cached_tokens;
  }

  std::vector<std::vector<int32_t>> ids = std::vector<std::vector<int32_t>>(6);
  std::vector<spnl_fragment> fragments = std::vector<spnl_fragment>(6);
  std::vector<const spnl_fragment*> pointers;
  spnl_prompt prompt{};
  spnl_sampling sampling = sampling_of(1);
  spnl_request request{};
};

}  // namespace

// NO_STORE is for a whole fragment when a part of it is marked so.
BOOST_AUTO_TEST_CASE(one_time_text_inside_a_fragment_is_not_kept) {
  Fixture f;
  Opened opened(f.host);
  BOOST_TEST_REQUIRE(opened.open_session(f.log) == SPNL_OK, opened.error.message);
  TwoFragments two;
  two.fragments[3].flags = SPNL_FRAG_NO_STORE;
  BOOST_TEST(two.ask(opened, f) == 0u);
  BOOST_TEST(two.ask(opened, f) == 5u + 40);
}

BOOST_AUTO_TEST_CASE(fragments_outlive_the_model_in_a_folder) {
  const fs::path folder =
      fs::temp_directory_path() / ("abi_test_spans_" + std::to_string(::getpid()));
  const TwoFragments two;
  for (const uint64_t cached : {0u, 5u + 40 + 40}) {
    Fixture f;
    f.host.config["span_cache"] = folder.string();
    f.host.config["span_cache_size"] = "1G";
    Opened opened(f.host);
    BOOST_TEST_REQUIRE(opened.open_session(f.log) == SPNL_OK, opened.error.message);
    BOOST_TEST(two.ask(opened, f) == cached);
    BOOST_TEST(f.host.notes.empty());
  }
  fs::remove_all(folder);
  Fixture f;
  expect_load_failure(f.host, SPNL_INVALID, "span_cache_size", {{"span_cache_size", "much"}});
}

BOOST_AUTO_TEST_CASE(models_that_read_fragments_apart_do_so_unless_told_otherwise) {
  struct Case {
    const char* model;
    int32_t asked, mode, context;
  };
  for (const Case& c :
       {Case{"some/model", SPNL_SPAN_DEFAULT, SPNL_SPAN_EXACT, SPNL_CONTEXT_DEFAULT},
        Case{"org/Tulu3-Block-FT:Q4_K_M", SPNL_SPAN_DEFAULT, SPNL_SPAN_BLOCK, SPNL_CONTEXT_NONE},
        Case{"/m/tulu3-block-ft.Q4_0.gguf", SPNL_SPAN_DEFAULT, SPNL_SPAN_BLOCK, SPNL_CONTEXT_NONE},
        Case{"org/Tulu3-Block-FT", SPNL_SPAN_EXACT, SPNL_SPAN_EXACT, SPNL_CONTEXT_DEFAULT},
        Case{"x-Block-FT/other", SPNL_SPAN_DEFAULT, SPNL_SPAN_EXACT, SPNL_CONTEXT_DEFAULT}}) {
    Fixture f;
    f.host.model = c.model;
    Opened opened(f.host);
    BOOST_TEST_REQUIRE(opened.open_session(f.log) == SPNL_OK, opened.error.message);
    const std::vector<int32_t> ids[] = {{1, 40}, {}, {50, 60, 70}, {80, 90}, {91}};
    constexpr int32_t kParents[] = {-1, -1, 1, 1, -1};
    std::vector<spnl_fragment> fragments(std::size(ids));
    std::vector<const spnl_fragment*> pointers;
    for (size_t i = 0; i < fragments.size(); ++i) {
      fragments[i].struct_size = sizeof fragments[i];
      fragments[i].kind = ids[i].empty() ? SPNL_FRAG_INDEPENDENT : SPNL_FRAG_TOKENS;
      fragments[i].parent = kParents[i];
      fragments[i].tokens = ids[i].data();
      fragments[i].n_tokens = static_cast<uint32_t>(ids[i].size());
      pointers.push_back(&fragments[i]);
    }
    spnl_prompt prompt{};
    prompt.struct_size = sizeof prompt;
    prompt.n_fragments = static_cast<uint32_t>(pointers.size());
    prompt.fragments = pointers.data();
    const spnl_sampling sampling = sampling_of(1);
    spnl_request request{};
    request.struct_size = sizeof request;
    request.prompt = &prompt;
    request.sampling = &sampling;
    request.span_mode = c.asked;
    BOOST_TEST_REQUIRE(
        opened.backend.submit(opened.session, &request, &f.sequence, &opened.error) == SPNL_OK,
        opened.error.message);
    opened.run();
    BOOST_TEST_CONTEXT(c.model) {
      BOOST_TEST(f.sample().usage.span_mode == c.mode);
      BOOST_TEST(f.sample().usage.span_context == c.context);
    }
  }
}

BOOST_AUTO_TEST_CASE(sessions_on_threads_of_their_own_hear_of_their_own_requests_there) {
  Fixture f;
  Opened opened(f.host);
  BOOST_TEST_REQUIRE(opened.open_session(f.log) == SPNL_OK, opened.error.message);
  BOOST_TEST(opened.submit(kPrompt, sampling_of(40), f.sequence) == SPNL_OK);
  opened.run();
  const std::vector<int32_t> want = f.sample().ids;
  constexpr int kSessions = 4;
  std::vector<EventLog> logs(kSessions);
  std::vector<int> ended(kSessions, 0);
  std::mutex opening;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kSessions; ++i)
    threads.emplace_back([&, i] {
      EventLog& log = logs[i];
      log.thread = std::this_thread::get_id();
      const spnl_events events = log.events();
      spnl_session* session = nullptr;
      {
        const std::lock_guard lock(opening);  // one call at a time per model
        opened.backend.session_open(opened.model, &events, &session, nullptr);
      }
      const spnl_sampling sampling = sampling_of(40, 2);
      spnl_request request{};
      request.struct_size = sizeof request;
      request.prompt = &kPrompt.prompt;
      request.sampling = &sampling;
      uint64_t sequence = 0, left_alone = 0;
      opened.backend.submit(session, &request, &sequence, nullptr);
      uint32_t alive = 1;
      while (alive > 0) opened.backend.step(session, 0, &alive, nullptr);
      opened.backend.submit(session, &request, &left_alone, nullptr);
      opened.backend.session_close(session);
      for (const auto& [key, sample] : log.samples)
        if (sample.finishes == 1 && (key.first == left_alone || sample.ids == want)) ++ended[i];
    });
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < kSessions; ++i) {
    BOOST_TEST(ended[i] == 4);
    BOOST_TEST(logs[i].faults.empty());
  }
  spnl_stats stats{};
  stats.struct_size = sizeof stats;
  BOOST_TEST(opened.backend.stats(opened.model, &stats, nullptr) == SPNL_OK);
  BOOST_TEST(stats.running + stats.waiting == 0u);
}

BOOST_AUTO_TEST_CASE(score_is_the_oracles) {
  Fixture f;
  Opened opened(f.host);
  BOOST_TEST_REQUIRE(opened.load_status == SPNL_OK, opened.error.message);
  const auto* score =
      static_cast<const spnl_score_v1*>(opened.backend.extension(opened.instance, SPNL_EXT_SCORE));
  BOOST_TEST_REQUIRE(score != nullptr);
  BOOST_TEST(opened.backend.extension(opened.instance, "spnl.nothing/1") == nullptr);
  for (const auto& e : spnl::mistralrs::test::read_expected(kFolder / "llama-bf16.expected.json")) {
    const auto k = static_cast<uint32_t>(e.logits.size());
    std::vector<float> logprobs(e.ids.size()), top(k), logits(k);
    std::vector<int32_t> ids(k);
    double lse = 0;
    BOOST_TEST_REQUIRE(score->score(opened.model, e.ids.data(), e.ids.size(), k, logprobs.data(),
                                    ids.data(), top.data(), &lse, &opened.error) == SPNL_OK,
                       opened.error.message);
    for (uint32_t i = 0; i < k; ++i) logits[static_cast<size_t>(ids[i])] = top[i];
    BOOST_TEST(spnl::mistralrs::test::off_by(logits, e.logits) < 1e-2);
    BOOST_TEST(std::isnan(logprobs[0]));
    double sum = 0;
    for (const float logit : logits) sum += std::exp(logit - lse);
    BOOST_TEST(std::abs(sum - 1) < 1e-6);
    BOOST_TEST(score->score(opened.model, e.ids.data(), e.ids.size(), k + 1, logprobs.data(),
                            ids.data(), top.data(), &lse, &opened.error) == SPNL_INVALID);
  }
}

BOOST_AUTO_TEST_CASE(text_goes_to_ids_and_back_also_without_weights) {
  Fixture f;
  for (const char* vocab_only : {"false", "true"}) {
    Opened opened(f.host, {{"vocab_only", vocab_only}});
    BOOST_TEST_REQUIRE(opened.load_status == SPNL_OK, opened.error.message);
    const PromptOf text("The river is high.");
    std::string ids, out;
    const spnl_sink id_sink = spnl::abi::string_sink(ids), text_sink = spnl::abi::string_sink(out);
    BOOST_TEST(opened.backend.tokenize(opened.model, text.get(), &id_sink, nullptr,
                                       &opened.error) == SPNL_OK);
    BOOST_TEST(opened.backend.detokenize(opened.model, reinterpret_cast<const int32_t*>(ids.data()),
                                         ids.size() / 4, &text_sink, &opened.error) == SPNL_OK);
    BOOST_TEST(out.find("The river is high.") != std::string::npos);
    spnl_model_info info{};
    info.struct_size = sizeof info;
    BOOST_TEST(opened.backend.model_info(opened.model, &info, nullptr) == SPNL_OK);
    BOOST_TEST(info.vocab > 0u);
  }
  Opened opened(f.host, {{"vocab_only", "true"}});
  BOOST_TEST(opened.open_session(f.log) == SPNL_UNSUPPORTED);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_done_is_said) {
  Fixture f;
  Opened opened(f.host);
  BOOST_TEST_REQUIRE(opened.open_session(f.log) == SPNL_OK, opened.error.message);
  spnl_request request{};
  request.struct_size = sizeof request;
  request.prompt = kPrompt.get();
  const auto refused = [&](spnl_status status, const std::string& word) {
    BOOST_TEST(opened.backend.submit(opened.session, &request, &f.sequence, &opened.error) ==
               status);
    BOOST_TEST(std::string(opened.error.message).find(word) != std::string::npos,
               opened.error.message);
  };
  request.grammar = spnl::abi::str("x");
  refused(SPNL_UNSUPPORTED, "grammar");
  request.grammar = {};
  request.span_mode = 99;
  refused(SPNL_INVALID, "span_mode");
  request.span_mode = SPNL_SPAN_BLEND;
  request.span_context = -1;
  refused(SPNL_INVALID, "span_context");
  request.span_context = SPNL_CONTEXT_DEFAULT;
  request.span_order = 3;
  refused(SPNL_INVALID, "span_order");
  request.span_mode = request.span_order = 0;
  request.struct_size = 8;
  refused(SPNL_INVALID, "struct_size");
  request.struct_size = sizeof request;
  const PromptOf outside(std::vector<int32_t>{1, 1 << 28});
  request.prompt = outside.get();
  refused(SPNL_INVALID, "vocabulary");
  const PromptOf endless(std::vector<int32_t>(5000, 7));
  request.prompt = endless.get();
  refused(SPNL_INVALID, "5000");
  spnl_sampling sampling = sampling_of(1);
  sampling.set |= SPNL_SET_TEMPERATURE;
  sampling.temperature = NAN;
  request.sampling = &sampling;
  request.prompt = kPrompt.get();
  BOOST_TEST(opened.backend.submit(opened.session, &request, &f.sequence, &opened.error) ==
             SPNL_INVALID);
  BOOST_TEST(opened.step() == 0u);
}

BOOST_AUTO_TEST_CASE(loads_that_cannot_work_say_why) {
  Fixture f;
  expect_load_failure(f.host, SPNL_UNSUPPORTED, "cuda", {{"MISTRALRS_DEVICE", "cuda"}});
  expect_load_failure(f.host, SPNL_UNSUPPORTED, "z80", {{"MISTRALRS_CPU_ISA", "z80"}});
  expect_load_failure(f.host, SPNL_INVALID, "MISTRALRS_PAGED_ATTN_BLOCK_SIZE",
                      {{"MISTRALRS_PAGED_ATTN_BLOCK_SIZE", "0"}});
  expect_load_failure(f.host, SPNL_NO_MEMORY, "KV cache", {{"kv_memory", "1"}});
  f.host.cancel_at_progress = 1;
  f.host.progress_calls = 0;
  expect_load_failure(f.host, SPNL_CANCELLED, "cancelled");
  f.host.cancel_at_progress = -1;
  {
    Opened limited(f.host, {}, 0, 1000);
    BOOST_TEST(limited.load_status == SPNL_NO_MEMORY);
  }
  const fs::path broken =
      fs::temp_directory_path() / ("spnl-mistralrs-" + std::to_string(getpid()) + ".gguf");
  std::ofstream(broken) << "GGUFnot really";
  f.host.file = broken.string();
  Opened opened(f.host);
  BOOST_TEST((opened.load_status == SPNL_CORRUPT || opened.load_status == SPNL_UNSUPPORTED),
             opened.error.message);
  fs::remove(broken);
  f.host.file.clear();
  expect_load_failure(f.host, SPNL_NOT_FOUND, "looked");
}

BOOST_AUTO_TEST_CASE(every_kernel_choice_generates_the_same) {
  std::vector<int32_t> first;
  for (const char* isa : {"scalar", "reference"}) {
    Fixture f;
    Opened opened(f.host, {{"MISTRALRS_CPU_ISA", isa}});
    BOOST_TEST_REQUIRE(opened.load_status == SPNL_OK, opened.error.message);
    BOOST_TEST_REQUIRE(opened.open_session(f.log) == SPNL_OK);
    BOOST_TEST(opened.submit(kPrompt, sampling_of(12), f.sequence) == SPNL_OK);
    opened.run();
    if (first.empty()) first = f.sample().ids;
    BOOST_TEST(f.sample().ids == first, boost::test_tools::per_element());
  }
}
