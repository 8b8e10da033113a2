// Bad input over the ABI: a status and a text each time, and the process lives.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "gguf_builder.h"
#include "plugin_harness.h"

using namespace spnl::test;

namespace {

struct Loaded {
  TempDir dir;
  FakeHost host;
  EventLog log;
  std::unique_ptr<Opened> opened;

  Loaded() {
    host.file = dir.write("m.gguf", tiny_llama().bytes()).string();
    opened = std::make_unique<Opened>(host);
    BOOST_TEST_REQUIRE(opened->load_status == SPNL_OK, opened->error.message);
    BOOST_TEST_REQUIRE(opened->open_session(log) == SPNL_OK);
  }

  /// Submits after `change`; the status. The text is not empty when it failed.
  template <class Change>
  spnl_status submit(Change change, std::string_view word = {}) {
    const PromptOf prompt(std::vector<int32_t>{1, 2, 3});
    spnl_prompt copy = prompt.prompt;
    spnl_sampling sampling = sampling_of(2);
    spnl_request request{};
    request.struct_size = sizeof request;
    request.prompt = &copy;
    request.sampling = &sampling;
    change(request, copy, sampling);
    opened->error = empty_error();
    uint64_t sequence = 0;
    const spnl_status status =
        opened->backend.submit(opened->session, &request, &sequence, &opened->error);
    BOOST_TEST((status == SPNL_OK) == (opened->error.message[0] == '\0'));
    BOOST_TEST(std::string(opened->error.message).find(word) != std::string::npos,
               opened->error.message);
    return status;
  }
};

spnl_status load_with(FakeHost& host, std::vector<std::pair<std::string, std::string>> options,
                      std::string_view word, uint64_t memory_limit = 0) {
  const Opened opened(host, std::move(options), 0, memory_limit);
  BOOST_TEST(opened.model == nullptr);
  BOOST_TEST(std::string(opened.error.message).find(word) != std::string::npos,
             opened.error.message);
  return opened.load_status;
}

}  // namespace

BOOST_AUTO_TEST_CASE(unsupported_wishes_are_named) {
  Loaded l;
  BOOST_TEST(l.submit([](auto& r, auto&, auto&) { r.grammar = spnl::abi::str("x"); }, "grammar") ==
             SPNL_UNSUPPORTED);
  BOOST_TEST(l.submit([](auto& r, auto&, auto&) { r.grammar_kind = spnl::abi::str("json"); },
                      "grammar") == SPNL_UNSUPPORTED);
  BOOST_TEST(l.submit([](auto&, auto& p, auto&) { p.tools_json = spnl::abi::str("[]"); },
                      "tools") == SPNL_UNSUPPORTED);
  BOOST_TEST(l.submit([](auto& r, auto&, auto&) { r.span_mode = SPNL_SPAN_BLOCK; }, "'block'") ==
             SPNL_UNSUPPORTED);
  BOOST_TEST(l.submit([](auto& r, auto&, auto&) { r.span_mode = SPNL_SPAN_BLEND; }, "'blend'") ==
             SPNL_UNSUPPORTED);
  BOOST_TEST(l.submit([](auto& r, auto&, auto&) { r.span_order = SPNL_ORDER_CANONICAL; },
                      "'canonical'") == SPNL_UNSUPPORTED);
  BOOST_TEST(l.submit([](auto& r, auto&, auto&) { r.span_mode = SPNL_SPAN_EXACT; }) == SPNL_OK);
  BOOST_TEST(l.submit([](auto& r, auto&, auto&) { r.span_mode = 99; }) == SPNL_INVALID);
  BOOST_TEST(l.submit([](auto& r, auto&, auto&) { r.sampling = nullptr; }) == SPNL_OK);
}

BOOST_AUTO_TEST_CASE(bad_requests_are_refused) {
  Loaded l;
  BOOST_TEST(l.submit([](auto& r, auto&, auto&) { r.struct_size = 8; }, "struct_size") ==
             SPNL_INVALID);
  BOOST_TEST(l.submit([](auto&, auto& p, auto&) { p.struct_size = 8; }, "struct_size") ==
             SPNL_INVALID);
  BOOST_TEST(l.submit([](auto&, auto&, auto& s) { s.struct_size = 8; }, "struct_size") ==
             SPNL_INVALID);
  BOOST_TEST(l.submit([](auto& r, auto&, auto&) { r.prompt = nullptr; }, "prompt") == SPNL_INVALID);
  BOOST_TEST(l.submit([](auto&, auto& p, auto&) { p.n_fragments = 0; }) == SPNL_INVALID);
  BOOST_TEST(l.submit([](auto&, auto& p, auto&) { p.fragments = nullptr; }) == SPNL_INVALID);
  BOOST_TEST(l.submit([](auto&, auto&, auto& s) {
    s.set |= SPNL_SET_TEMPERATURE, s.temperature = NAN;
  }) == SPNL_INVALID);
  BOOST_TEST(l.submit([](auto&, auto&, auto& s) { s.set |= SPNL_SET_TOP_P, s.top_p = -1; }) ==
             SPNL_INVALID);
  BOOST_TEST(l.submit([](auto&, auto&, auto& s) { s.samples = UINT32_MAX; }) == SPNL_INVALID);
  BOOST_TEST(l.submit([](auto&, auto&, auto& s) {
    s.set |= SPNL_SET_TOP_LOGPROBS, s.top_logprobs = 1u << 30;
  }) == SPNL_INVALID);
  BOOST_TEST(l.submit([](auto&, auto&, auto& s) { s.set |= SPNL_SET_STOPS, s.n_stops = 2; }) ==
             SPNL_INVALID);
  for (const int32_t id : {-1, static_cast<int32_t>(kTinyVocabulary), INT32_MAX, INT32_MIN}) {
    const PromptOf bad(std::vector<int32_t>{1, id});
    BOOST_TEST(l.submit([&](auto&, auto& p, auto&) { p = bad.prompt; }) == SPNL_INVALID);
  }
  const PromptOf none(std::vector<int32_t>{});
  BOOST_TEST(l.submit([&](auto&, auto& p, auto&) { p = none.prompt; }) == SPNL_INVALID);
  const PromptOf strange("x", 99);
  BOOST_TEST(l.submit([&](auto&, auto& p, auto&) { p = strange.prompt; }) == SPNL_INVALID);
  const PromptOf huge(std::string(1 << 20, 'x'));
  BOOST_TEST(l.submit([&](auto&, auto& p, auto&) { p = huge.prompt; }, "context") == SPNL_INVALID);
  const PromptOf bytes(std::string("\xff\xfe\xc3(\0ok", 7));
  BOOST_TEST(l.submit([&](auto&, auto& p, auto&) { p = bytes.prompt; }) == SPNL_OK);
  l.opened->run();
  BOOST_TEST(l.log.faults.empty());
}

BOOST_AUTO_TEST_CASE(null_pointers_are_refused) {
  Loaded l;
  const spnl_backend& b = l.opened->backend;
  spnl_error* no_error = nullptr;
  BOOST_TEST(b.open(nullptr, nullptr, no_error) == SPNL_INVALID);
  BOOST_TEST(b.model_load(l.opened->instance, nullptr, nullptr, no_error) == SPNL_INVALID);
  BOOST_TEST(b.model_info(l.opened->model, nullptr, no_error) == SPNL_INVALID);
  BOOST_TEST(b.tokenize(l.opened->model, nullptr, nullptr, nullptr, no_error) == SPNL_INVALID);
  BOOST_TEST(b.detokenize(l.opened->model, nullptr, 3, nullptr, no_error) == SPNL_INVALID);
  BOOST_TEST(b.session_open(l.opened->model, nullptr, nullptr, no_error) == SPNL_INVALID);
  BOOST_TEST(b.submit(l.opened->session, nullptr, nullptr, no_error) == SPNL_INVALID);
  BOOST_TEST(b.step(l.opened->session, 0, nullptr, no_error) == SPNL_INVALID);
  BOOST_TEST(b.stats(l.opened->model, nullptr, no_error) == SPNL_INVALID);
  BOOST_TEST(b.cancel(nullptr, 1) == SPNL_INVALID);
  const int32_t far[] = {100000};
  std::string text;
  const spnl_sink sink = spnl::abi::string_sink(text);
  BOOST_TEST(b.detokenize(l.opened->model, far, 1, &sink, no_error) == SPNL_INVALID);
  const auto* score =
      static_cast<const spnl_score_v1*>(b.extension(l.opened->instance, SPNL_EXT_SCORE));
  float logprob[3];
  BOOST_TEST(score->score(l.opened->model, far, 1, 0, logprob, nullptr, nullptr, nullptr,
                          no_error) == SPNL_INVALID);
  BOOST_TEST(score->score(l.opened->model, far, 0, 0, logprob, nullptr, nullptr, nullptr,
                          no_error) == SPNL_INVALID);
}

BOOST_AUTO_TEST_CASE(loads_that_cannot_work_say_why) {
  const TempDir dir;
  FakeHost host;
  BOOST_TEST(load_with(host, {}, "looked in no place") == SPNL_NOT_FOUND);
  host.file = (std::filesystem::temp_directory_path() / "spnl-no-such-file.gguf").string();
  BOOST_TEST(load_with(host, {}, "spnl-no-such-file") == SPNL_NOT_FOUND);
  const std::string whole = tiny_llama().bytes();
  host.file = dir.write("cut.gguf", whole.substr(0, whole.size() - 100)).string();
  BOOST_TEST(load_with(host, {}, "cut off") == SPNL_CORRUPT);
  host.file = dir.write("m.gguf", whole).string();
  BOOST_TEST(load_with(host, {{"threads", "many"}}, "threads") == SPNL_INVALID);
  BOOST_TEST(load_with(host, {{"vocab_only", "perhaps"}}, "vocab_only") == SPNL_INVALID);
}

BOOST_AUTO_TEST_CASE(memory_and_cancellation_while_loading) {
  FakeHost host;
  host.file = std::string(SPNL_TEST_FIXTURES_DIR) + "/gguf/llama-bf16.gguf";
  BOOST_TEST(load_with(host, {}, "1 MB", 100000) == SPNL_NO_MEMORY);
  for (int n = 0; n < 15; ++n) {
    host.allocations_left = n;
    BOOST_TEST(load_with(host, {}, "no memory") == SPNL_NO_MEMORY);
    BOOST_TEST(host.live_allocations == 0);
  }
  host.allocations_left = 1000;
  host.progress_calls = 0;
  host.cancel_at_progress = 3;
  BOOST_TEST(load_with(host, {}, "cancelled") == SPNL_CANCELLED);
  BOOST_TEST(host.live_allocations == 0);
}

BOOST_AUTO_TEST_CASE(too_many_waiting_is_busy) {
  Loaded l;
  spnl_status status = SPNL_OK;
  int accepted = 0;
  while (status == SPNL_OK && accepted < 100000) {
    status = l.submit([](auto&, auto&, auto&) {});
    ++accepted;
  }
  BOOST_TEST(status == SPNL_BUSY);
}
