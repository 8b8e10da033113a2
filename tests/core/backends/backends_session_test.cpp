// Sessions over the real C ABI, with a fake backend whose model's name says what it does.
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <future>
#include <latch>
#include <mutex>
#include <random>
#include <thread>

#include "spnl/backends.h"
#include "spnl/error.h"
#include "temp_folder.h"

using namespace spnl;
using namespace std::chrono_literals;

namespace {

struct Lines {
  std::mutex mutex;
  std::vector<std::string> all;
  size_t count(const std::string& line) {
    const std::lock_guard lock(mutex);
    return static_cast<size_t>(std::count(all.begin(), all.end(), line));
  }
  size_t containing(const std::string& part) {
    const std::lock_guard lock(mutex);
    return static_cast<size_t>(std::count_if(
        all.begin(), all.end(), [&](const auto& l) { return l.find(part) != l.npos; }));
  }
};

struct Fixture {
  Lines lines;
  std::atomic<int> progress_calls{0};
  std::optional<Backends> backends;

  Fixture() { start({}); }
  void start(std::map<std::string, std::string> config) {
    BackendsOptions options;
    options.explicit_paths = {SPNL_FAKE_BACKENDS_DIR "/fake"};
    options.config = std::move(config);
    options.config["FAKE_SETTING"] = "seen";
    options.log = [this](LogLevel level, std::string_view component, std::string_view text) {
      const std::lock_guard lock(lines.mutex);
      lines.all.push_back(std::to_string(static_cast<int>(level)) + " " + std::string(component) +
                          " " + std::string(text));
    };
    options.progress = [this](std::string_view, uint64_t, uint64_t) { ++progress_calls; };
    backends.emplace(std::move(options));
  }
  ~Fixture() {
    backends.reset();
    BOOST_TEST(lines.containing("state") == 0u);  // the fake's complaints about the host
    BOOST_TEST(lines.containing("not given back") == 0u);
  }

  std::shared_ptr<Model> load(const std::string& behaviour) {
    return backends->load("fake/" + behaviour, {});
  }
};

Prompt message(const std::string& text, Role role = Role::kUser) {
  Prompt p;
  p.kind = Prompt::Kind::kMessage;
  p.role = role;
  p.text = text;
  return p;
}

Prompt group(Prompt::Kind kind, std::vector<Prompt> children) {
  Prompt p;
  p.kind = kind;
  p.children = std::move(children);
  return p;
}

Prompt ids(std::vector<int32_t> tokens) {
  Prompt p;
  p.kind = Prompt::Kind::kTokens;
  p.tokens = std::move(tokens);
  return p;
}

GenerateRequest request(const std::string& text, uint32_t samples = 1) {
  GenerateRequest r;
  r.prompt = message(text);
  r.samples = samples;
  return r;
}

/// Collects what the handlers are told and checks their order. Handlers run on other threads, where
/// Boost.Test's macros may not be used.
struct Result {
  std::promise<std::vector<Completion>> promise;
  std::future<std::vector<Completion>> future = promise.get_future();
  std::atomic<int> finishes{0};
  std::atomic<bool> late{false};  ///< tokens after the finish
  std::vector<std::string> streamed = std::vector<std::string>(64);

  GenerateHandlers handlers() {
    GenerateHandlers h;
    h.on_tokens = [this](uint32_t sample, std::string_view text, const std::vector<int32_t>&) {
      if (finishes != 0) late = true;
      streamed.at(sample) += text;
    };
    h.on_finish = [this](std::vector<Completion> done) {
      if (finishes++ == 0) promise.set_value(std::move(done));
    };
    return h;
  }
  std::vector<Completion> wait() {
    if (future.wait_for(20s) != std::future_status::ready) throw std::runtime_error("no on_finish");
    if (late) throw std::runtime_error("tokens after on_finish");
    return future.get();
  }
};

std::vector<Completion> run(Model& model, GenerateRequest r) {
  Result result;
  model.generate(std::move(r), result.handlers());
  return result.wait();
}

bool has_text(const Error& e, const char* text) {
  return std::string(e.what()).find(text) != std::string::npos;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(session, Fixture)

BOOST_AUTO_TEST_CASE(echo_streams_and_finishes) {
  const auto model = load("echo");
  Result result;
  model->generate(request("the quick brown fox", 2), result.handlers());
  const auto done = result.wait();
  BOOST_REQUIRE_EQUAL(done.size(), 2u);
  for (uint32_t i = 0; i < 2; ++i) {
    BOOST_TEST(done[i].text == "the quick brown fox");
    BOOST_TEST(result.streamed[i] == done[i].text);
    BOOST_TEST(done[i].ids == (std::vector<int32_t>{100, 101, 102, 103}),
               boost::test_tools::per_element());
    BOOST_TEST(done[i].sample == i);
    BOOST_TEST(done[i].sequence == 1001u);
    BOOST_TEST(finish_reason_name(done[i].finish) == "eos");
    BOOST_TEST(done[i].usage.output_tokens == 4u);
    BOOST_TEST(done[i].usage.prompt_tokens == 4u);
  }
}

BOOST_AUTO_TEST_CASE(model_answers) {
  const auto model = load("echo");
  BOOST_TEST(model->info().architecture == "echo");
  BOOST_TEST(model->info().eos == (std::vector<int32_t>{2, 7}), boost::test_tools::per_element());
  BOOST_TEST(model->info().capabilities == std::vector<std::string>{"bulk_map"},
             boost::test_tools::per_element());
  BOOST_TEST(model->tokenize(message("a b c"), {}) == (std::vector<int32_t>{1, 2, 3}),
             boost::test_tools::per_element());
  BOOST_TEST(model->detokenize({5, 6}) == "5 6 ");
  BOOST_TEST(model->render(message("x y"), {}) == "x|y|");
  BOOST_CHECK_EXCEPTION(model->render(message("REFUSE"), {}), Error, [](const Error& e) {
    return e.code() == ErrorCode::kEvaluation && has_text(e, "the template refuses");
  });
  BOOST_CHECK_THROW(model->detokenize({-1}), Error);
  const Score score = model->score({1, 2}, 1000);
  BOOST_TEST(score.logprobs[1] == -2.0f);
  BOOST_TEST(score.top_ids.size() == 50u);  // not more than the vocabulary
  BOOST_TEST(score.log_sum_exp == 3.5);
  BOOST_CHECK_THROW(model->score({}, 1), Error);
  run(*model, request("a b"));
  BOOST_TEST(model->stats().decode_tokens >= 2u);
  BOOST_TEST(lines.count("2 setting seen") == 1u);
  BOOST_TEST(lines.count("1 fake opened\\x0A") == 1u);  // control characters do not reach the log
  BOOST_TEST(lines.containing("of no level") == 0u);
}

BOOST_AUTO_TEST_CASE(groups_are_flattened_unless_the_model_has_spans) {
  const Prompt tokens = ids({4, 5});
  const Prompt prompt = group(
      Prompt::Kind::kOrdered,
      {message("a", Role::kSystem),
       group(Prompt::Kind::kIndependent, {message("b"), group(Prompt::Kind::kOrdered, {tokens})}),
       message("c")});
  BOOST_TEST(load("echo")->render(prompt, {}) == "a|b|#4|#5|c|");
  BOOST_TEST(load("spans")->render(prompt, {}) == "a|[|b|(|#4|#5|c|");
}

BOOST_AUTO_TEST_CASE(sampling_arrives) {
  const auto model = load("echo");
  GenerateRequest r = request("a b c");
  r.max_tokens = 2;
  r.stop = {"x", "y"};
  auto done = run(*model, r);
  BOOST_TEST(done[0].text == "a b");
  BOOST_TEST((done[0].finish == FinishReason::kLength));
}

BOOST_AUTO_TEST_CASE(span_settings_arrive_where_the_model_has_spans) {
  const auto text = [](Model& model, const char* mode, const char* context, const char* order) {
    GenerateRequest r = request("a");
    r.span_mode = mode;
    r.span_context = context;
    r.span_order = order;
    const auto done = run(model, r);
    return done[0].finish == FinishReason::kError ? "error: " + done[0].error : done[0].text;
  };
  const auto spans = load("spans"), none = load("echo");
  BOOST_TEST(text(*spans, "", "", "") == "a 0/0/0/0");
  BOOST_TEST(text(*spans, "exact", "none", "given") == "a 1/1/1/0");
  BOOST_TEST(text(*spans, "block", "bos", "canonical") == "a 2/2/2/0");
  BOOST_TEST(text(*spans, "blend", "preamble", "") == "a 3/3/0/0");
  BOOST_TEST(text(*spans, "blend:0", "", "") == "a 2/0/0/0");
  BOOST_TEST(text(*spans, "blend:7", "prefix", "") == "a 3/4/0/7");
  BOOST_TEST(text(*spans, "blend:7", "lineage", "") == "a 3/5/0/7");
  BOOST_TEST(text(*none, "block", "bos", "canonical") == "a");
  for (const char* bad : {"blend:7x", "blend:", "blend:99999999999", "Block", "x"})
    BOOST_TEST(text(*spans, bad, "", "").find("no span mode '") != std::string::npos);
  BOOST_TEST(text(*spans, "", "all", "").find("no span context 'all'") != std::string::npos);
  BOOST_TEST(text(*spans, "", "", "any").find("no span order 'any'") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(fragments_are_marked_and_counted) {
  GenerateRequest r = request("");
  Prompt pinned = message("a"), own = message("b", Role::kAssistant);
  pinned.pin = pinned.sees_prefix = true;
  pinned.next_use = 3;
  own.no_store = true;
  own.lineage = 9;
  r.prompt = group(Prompt::Kind::kOrdered,
                   {message("s", Role::kSystem),
                    group(Prompt::Kind::kIndependent,
                          {pinned, group(Prompt::Kind::kOrdered, {own, message("c")})})});
  r.span_mode = "block";
  r.span_context = "bos";
  const Completion done = run(*load("spans"), r)[0];
  BOOST_TEST(done.text == "s [ a ( b c 2/2/0/0 2:3/0/3 4:4/9/0");
  BOOST_TEST(done.usage.span_mode == "block");
  BOOST_TEST(done.usage.span_context == "bos");
  BOOST_REQUIRE_EQUAL(done.usage.fragments.size(), 2u);
  BOOST_TEST(done.usage.fragments[0].path == "1.0");
  BOOST_TEST(done.usage.fragments[0].begins == "a");
  BOOST_TEST(done.usage.fragments[0].tokens == 12u);
  BOOST_TEST(done.usage.fragments[1].path == "1.1");
  BOOST_TEST(done.usage.fragments[1].begins == "b");
  BOOST_TEST(done.usage.fragments[1].cached == 13u);
  BOOST_TEST(run(*load("echo"), r)[0].usage.fragments.empty());
}

BOOST_AUTO_TEST_CASE(a_hundred_at_once) {
  const auto model = load("echo");
  std::vector<std::unique_ptr<Result>> results;
  for (int i = 0; i < 100; ++i) {
    results.push_back(std::make_unique<Result>());
    std::string text;
    for (int w = 0; w <= i % 17; ++w) text += "w" + std::to_string(i) + " ";
    model->generate(request(text, 1 + i % 3), results.back()->handlers());
  }
  for (int i = 0; i < 100; ++i) {
    const auto done = results[i]->wait();
    BOOST_REQUIRE_EQUAL(done.size(), static_cast<size_t>(1 + i % 3));
    BOOST_TEST(done.back().ids.size() == static_cast<size_t>(1 + i % 17));
    BOOST_TEST((done.back().finish == FinishReason::kEos));
  }
  for (const auto& result : results) BOOST_TEST(result->finishes == 1);
}

BOOST_AUTO_TEST_CASE(many_threads_many_models) {
  const std::vector<std::shared_ptr<Model>> models = {load("echo"), load("slow+echo"), load("busy"),
                                                      load("spans")};
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      for (int i = 0; i < 20; ++i) {
        Model& model = *models[random() % models.size()];
        Result result;
        const uint64_t id = model.generate(request("one two three"), result.handlers());
        if (random() % 4 == 0) model.cancel(id);
        if (random() % 4 == 0) model.score({1}, 1);
        if (random() % 4 == 0) model.tokenize(message("x"), {});
        const auto done = result.wait();
        if (done.size() == 1 && done[0].finish != FinishReason::kError) ++good;
      }
    });
  for (auto& thread : threads) thread.join();
  BOOST_TEST(good == 160);
}

BOOST_AUTO_TEST_CASE(busy_is_tried_again) {
  const auto model = load("busy");
  std::vector<std::unique_ptr<Result>> results;
  for (int i = 0; i < 9; ++i) {
    results.push_back(std::make_unique<Result>());
    model->generate(request("a b c"), results.back()->handlers());
  }
  for (auto& result : results) BOOST_TEST(result->wait()[0].text == "a b c");
}

BOOST_AUTO_TEST_CASE(busy_with_nothing_to_do_fails_in_the_end) {
  const auto model = load("stuck");
  const auto done = run(*model, request("a"));
  BOOST_TEST((done[0].finish == FinishReason::kError));
  BOOST_TEST(done[0].error.find("busy") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(waiting_behind_busy_can_be_cancelled) {
  const auto model = load("busy+endless");
  Result first, second, third;
  const uint64_t a = model->generate(request("x"), first.handlers()),
                 b = model->generate(request("x"), second.handlers());
  const uint64_t c = model->generate(request("x", 3), third.handlers());
  std::this_thread::sleep_for(10ms);
  model->cancel(c);
  const auto done = third.wait();
  BOOST_REQUIRE_EQUAL(done.size(), 3u);
  BOOST_TEST((done[2].finish == FinishReason::kCancelled));
  BOOST_TEST(done[2].ids.empty());
  model->cancel(a);
  model->cancel(b);
  first.wait();
  second.wait();
}

BOOST_AUTO_TEST_CASE(cancel_from_the_callback) {
  const auto model = load("endless");
  Result result;
  std::atomic<uint64_t> id{0};
  GenerateHandlers handlers = result.handlers();
  std::atomic<int> tokens{0};
  handlers.on_tokens = [&](uint32_t, std::string_view, const std::vector<int32_t>&) {
    if (++tokens >= 5) model->cancel(id);
  };
  id = model->generate(request("x"), handlers);
  const auto done = result.wait();
  BOOST_TEST((done[0].finish == FinishReason::kCancelled));
  BOOST_TEST(done[0].ids.size() >= 5u);
}

BOOST_AUTO_TEST_CASE(cancel_from_another_thread_twice_and_after_the_end) {
  const auto model = load("endless+slow");
  Result result;
  const uint64_t id = model->generate(request("x", 2), result.handlers());
  std::thread([&] {
    std::this_thread::sleep_for(20ms);
    model->cancel(id);
    model->cancel(id);
  }).join();
  const auto done = result.wait();
  BOOST_TEST((done[1].finish == FinishReason::kCancelled));
  model->cancel(id);
  model->cancel(123456);
  BOOST_TEST(result.finishes == 1);
}

BOOST_AUTO_TEST_CASE(cancel_before_the_first_step) {
  const auto model = load("endless");
  for (int i = 0; i < 50; ++i) {
    Result result;
    model->cancel(model->generate(request("x"), result.handlers()));
    BOOST_TEST((result.wait()[0].finish == FinishReason::kCancelled));
  }
}

BOOST_AUTO_TEST_CASE(quiet_backend_can_be_cancelled) {
  const auto model = load("quiet");
  Result result;
  const uint64_t id = model->generate(request("x"), result.handlers());
  std::this_thread::sleep_for(60ms);
  // Not a busy loop: about a step a millisecond after the first few.
  BOOST_TEST(model->stats().decode_tokens < 200u);
  model->cancel(id);
  BOOST_TEST((result.wait()[0].finish == FinishReason::kCancelled));
}

BOOST_AUTO_TEST_CASE(failing_step_fails_what_runs_and_the_next_works) {
  const auto model = load("fail_step");
  Result a, b;
  model->generate(request("1 2 3 4 5 6 7 8 9", 2), a.handlers());
  model->generate(request("1 2 3 4 5 6 7 8 9"), b.handlers());
  const auto done = a.wait();
  BOOST_TEST((done[1].finish == FinishReason::kError));
  BOOST_TEST(done[1].error.find("disk went away") != std::string::npos);
  BOOST_TEST(done[1].ids.size() <= 3u);
  BOOST_TEST((b.wait()[0].finish == FinishReason::kError));
  BOOST_TEST(run(*model, request("x"))[0].text == "x");  // a new session
}

BOOST_AUTO_TEST_CASE(what_the_backend_leaves_open_is_finished) {
  auto done = run(*load("lose"), request("a b c", 2));
  BOOST_TEST((done[1].finish == FinishReason::kError));
  BOOST_TEST(done[1].error.find("without a finish") != std::string::npos);
  done = run(*load("fail_step+leftover"), request("a b c d e f"));
  BOOST_TEST((done[0].finish == FinishReason::kError));
  done = run(*load("echo"), request("a ERROR"));
  BOOST_TEST((done[0].finish == FinishReason::kError));
  BOOST_TEST(done[0].error == "no room\\x0Afor it");
}

BOOST_AUTO_TEST_CASE(failures_to_submit_come_through_on_finish) {
  auto done = run(*load("reject"), request("a", 2));
  BOOST_REQUIRE_EQUAL(done.size(), 2u);
  BOOST_TEST(done[1].error == "prompt too long");
  done = run(*load("no_session"), request("a"));
  BOOST_TEST(done[0].error.find("loaded without weights") != std::string::npos);
  GenerateRequest absurd = request("a");
  absurd.samples = 4'000'000'000u;
  BOOST_CHECK_THROW(load("echo")->generate(std::move(absurd), {}), Error);
}

BOOST_AUTO_TEST_CASE(rude_events_change_nothing) {
  const auto model = load("rude");
  Result result;
  model->generate(request("a b c"), result.handlers());
  const auto done = result.wait();
  BOOST_TEST(done[0].text == "a b c");
  BOOST_TEST((done[0].finish == FinishReason::kEos));
  run(*model, request("a"));
  BOOST_TEST(result.finishes == 1);
  BOOST_TEST(lines.containing("outside of step") > 0u);
}

BOOST_AUTO_TEST_CASE(throwing_handlers_do_no_harm) {
  const auto model = load("endless");
  Result result;
  GenerateHandlers handlers = result.handlers();
  handlers.on_tokens = [](uint32_t, std::string_view, const std::vector<int32_t>&) {
    throw std::runtime_error("oops");
  };
  model->generate(request("x"), handlers);
  BOOST_TEST((result.wait()[0].finish == FinishReason::kCancelled));
  GenerateHandlers bad;
  std::promise<void> called;
  bad.on_finish = [&](std::vector<Completion>) {
    called.set_value();
    throw 5;
  };
  load("echo")->generate(request("x"), bad);
  called.get_future().wait();
  load("echo")->generate(request("x"), {});  // nobody listens
}

BOOST_AUTO_TEST_CASE(handlers_may_use_the_model) {
  const auto model = load("echo");
  std::promise<std::string> promise;
  GenerateHandlers outer, inner;
  float score = 0;
  inner.on_finish = [&](std::vector<Completion> done) { promise.set_value(done[0].text); };
  outer.on_tokens = [&](uint32_t, std::string_view, const std::vector<int32_t>&) {
    score = model->score({3}, 2).logprobs[0];
    model->render(message("x"), {});
  };
  outer.on_finish = [&](std::vector<Completion>) { model->generate(request("inner"), inner); };
  model->generate(request("outer"), outer);
  BOOST_TEST(promise.get_future().get() == "inner");
  BOOST_TEST(score == -3.0f);
}

BOOST_AUTO_TEST_CASE(letting_go_while_generating_finishes) {
  for (const char* behaviour :
       {"endless", "quiet", "endless+slow", "leftover+endless", "busy+endless"}) {
    std::vector<std::unique_ptr<Result>> results;
    auto model = load(behaviour);
    for (int i = 0; i < 5; ++i) {
      results.push_back(std::make_unique<Result>());
      model->generate(request("x", 2), results.back()->handlers());
    }
    model.reset();  // waits
    for (auto& result : results) {
      BOOST_TEST(result->finishes == 1);
      for (const Completion& c : result->wait()) BOOST_TEST((c.finish == FinishReason::kCancelled));
    }
  }
  BOOST_TEST(lines.containing("unloaded") == 5u);
}

BOOST_AUTO_TEST_CASE(last_owner_may_be_a_handler) {
  Result result;
  auto model = load("echo");
  GenerateHandlers handlers = result.handlers();
  handlers.on_finish = [held = model, finish = handlers.on_finish](std::vector<Completion> done) {
    finish(std::move(done));
  };
  auto* raw = model.get();
  model.reset();
  raw->generate(request("a"), std::move(handlers));
  BOOST_TEST(result.wait()[0].text == "a");
}

BOOST_AUTO_TEST_CASE(a_closing_model_is_gone_before_its_plugin) {
  auto model = load("endless");
  std::shared_ptr<Model> held;
  std::promise<void> given, taken;
  GenerateHandlers handlers;
  handlers.on_tokens = [&, first = true](uint32_t, std::string_view,
                                         const std::vector<int32_t>&) mutable {
    if (!std::exchange(first, false)) return;
    given.get_future().wait();
    held.reset();  // the last owner, and on a thread that may not wait
    taken.set_value();
    std::this_thread::sleep_for(200ms);
  };
  model->generate(request("x"), std::move(handlers));
  held = std::move(model);
  given.set_value();
  taken.get_future().wait();
  load("echo");
  backends.reset();
  BOOST_TEST(lines.containing("unloaded") == 2u);
}

BOOST_AUTO_TEST_CASE(letting_go_ends_nobody_elses_work) {
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) try {
          const auto done = run(*load("echo"), request("a b"));
          good += done.size() == 1 && done[0].finish == FinishReason::kEos ? 1 : 0;
        } catch (const std::exception&) {
        }
    });
  for (auto& thread : threads) thread.join();
  BOOST_TEST(good == 800);
}

BOOST_AUTO_TEST_CASE(shared_and_kept_when_let_go) {
  auto a = load("echo"), b = load("echo");
  BOOST_TEST(a == b);
  LoadOptions other;
  other.options["echo_option"] = "x";
  const auto c = backends->load("fake/echo", other);
  BOOST_TEST(a != c);
  BOOST_TEST(c->info().architecture == "echo+x");
  a.reset();
  BOOST_TEST(lines.containing("unloaded") == 0u);
  b.reset();
  BOOST_TEST(lines.containing("unloaded") == 0u);
  a = load("echo");
  BOOST_TEST(run(*a, request("again"))[0].text == "again");
  BOOST_TEST(a->stats().decode_tokens > 0u);  // the same model, not a second one
}

/// Models of 1000 bytes each, as files and as the fake counts them.
struct LimitedFixture : Fixture {
  TempFolder folder;

  std::shared_ptr<Model> load_file(const std::string& name) {
    const auto path = folder.write(name + ".gguf", std::string(1000, 'x'));
    return backends->load("fake/" + path.string(), {});
  }
};

BOOST_FIXTURE_TEST_CASE(least_recently_used_leaves_for_another, LimitedFixture) {
  start({{"SPNL_MEMORY_LIMIT", "2500"}});
  load_file("a");
  load_file("b");
  load_file("a");  // b is the oldest now
  BOOST_TEST(lines.containing("unloaded") == 0u);
  const auto c = load_file("c");
  BOOST_TEST(lines.containing("unloaded") == 1u);
  BOOST_TEST(lines.containing("b.gguf (1000 bytes), the least recently used, to make room for") ==
             1u);
  load_file("a");
  BOOST_TEST(lines.containing("unloaded") == 1u);
}

BOOST_FIXTURE_TEST_CASE(models_in_use_do_not_leave, LimitedFixture) {
  start({{"SPNL_MEMORY_LIMIT", "2K"}});
  auto a = load_file("a");
  const auto b = load_file("b");
  BOOST_CHECK_EXCEPTION(load_file("c"), Error, [](const Error& e) {
    return e.code() == ErrorCode::kNoRoom &&
           has_text(e, "have 1000 bytes and 48 bytes of the memory limit of 2.0 KiB are free") &&
           has_text(e, "c.gguf") && has_text(e, "--memory-limit");
  });
  a.reset();
  load_file("c");
  BOOST_TEST(lines.containing("unloaded") == 1u);
}

BOOST_FIXTURE_TEST_CASE(weights_in_other_forms_do_not_count, LimitedFixture) {
  start({{"SPNL_MEMORY_LIMIT", "2500"}});
  folder.write("m/model.safetensors", std::string(1000, 'x'));
  for (const char* beside : {"consolidated.safetensors", "pytorch_model.bin", "m.gguf"})
    folder.write("m/" + std::string(beside), std::string(3000, 'x'));
  BOOST_TEST(backends->load("fake/" + (folder / "m").string(), {})->info().architecture ==
             "files=m.gguf;");  // which the fake asks for
}

BOOST_FIXTURE_TEST_CASE(a_limit_that_is_none, LimitedFixture) {
  start({{"SPNL_MEMORY_LIMIT", "lots"}});
  BOOST_CHECK_EXCEPTION(load("echo"), Error, [](const Error& e) {
    return e.code() == ErrorCode::kUsage && has_text(e, "lots") && has_text(e, "K, M or G");
  });
}

BOOST_AUTO_TEST_CASE(models_may_outlive_backends) {
  auto model = load("endless");
  Result result;
  model->generate(request("x"), result.handlers());
  backends.reset();
  BOOST_TEST(result.finishes == 1);
  BOOST_TEST((result.wait()[0].finish == FinishReason::kCancelled));
  BOOST_TEST(lines.containing("closed") == 1u);
  BOOST_TEST(model->info().vocab == 50u);
  BOOST_CHECK_THROW(model->generate(request("x"), {}), Error);
  BOOST_CHECK_THROW(model->tokenize(message("x"), {}), Error);
  BOOST_CHECK_THROW(model->score({1}, 1), Error);
  BOOST_CHECK_THROW(model->stats(), Error);
  model->cancel(1);
}

BOOST_AUTO_TEST_CASE(loading_fails_and_stops) {
  BOOST_CHECK_EXCEPTION(load("load_fail"), Error, [](const Error& e) {
    return e.code() == ErrorCode::kNotLoadable && has_text(e, "magic is wrong\\x0Ain line two") &&
           has_text(e, "fake");
  });
  for (const char* behaviour : {"load_slow", "load_stuck"}) {
    std::stop_source stop;
    std::thread stopper([&] {
      std::this_thread::sleep_for(50ms);
      stop.request_stop();
    });
    const auto start = std::chrono::steady_clock::now();
    BOOST_CHECK_EXCEPTION(backends->load("fake/" + std::string(behaviour), {}, stop.get_token()),
                          Error,
                          [](const Error& e) { return e.code() == ErrorCode::kInterrupted; });
    stopper.join();
    BOOST_TEST((std::chrono::steady_clock::now() - start < 1400ms));
  }
  BOOST_TEST(progress_calls > 0);
  std::stop_source stop;
  stop.request_stop();
  BOOST_CHECK_THROW(backends->load("fake/echo", {}, stop.get_token()), Error);
  BOOST_TEST(run(*load("echo"), request("still works"))[0].text == "still works");
}

BOOST_AUTO_TEST_CASE(missing_model_says_where_it_looked) {
  BOOST_CHECK_EXCEPTION(load("no-such-org/no-such-model"), Error, [](const Error& e) {
    return e.code() == ErrorCode::kNotFound && has_text(e, "models--no-such-org--no-such-model") &&
           !e.hint().empty();
  });
  BOOST_CHECK_EXCEPTION(load("missing"), Error,
                        [](const Error& e) { return e.code() == ErrorCode::kNotFound; });
}

BOOST_AUTO_TEST_SUITE_END()
