// When what runs, what is saved, and what happens when something fails.
#include <boost/test/unit_test.hpp>
#include <cstdlib>

#include "fake_model.h"

namespace {

using namespace spnl;
using namespace spnl::test;

BOOST_AUTO_TEST_CASE(shows_in_order_what_runs_at_once) {
  Bench bench;
  bench.provider.fake->hold = 3;
  bench.run(
      "(seq (print \"1\") (g m \"a\") (seq (print \"2\") (g m (seq \"b\" (print \"3\")))) (plus "
      "(print "
      "\"4\") (g m \"c\")))");
  const Events& events = bench.events;
  BOOST_TEST(events.at("print 1") < events.at("finish 1 1"));
  BOOST_TEST(events.at("start 3.1 1") < events.at("finish 1 1"));
  BOOST_TEST(events.at("finish 1 1") < events.at("print 2"));
  BOOST_TEST(events.at("print 2") < events.at("print 3"));
  BOOST_TEST(events.at("finish 2.1 1") < events.at("print 4"));
  BOOST_TEST(events.has("print 4"));
}

BOOST_AUTO_TEST_CASE(waits_for_the_effect_of_a_monad) {
  Bench bench;
  bench.run("(seq (g m \"a\") (plus (monad (g m \"warm\"))) (g m \"b\"))");
  const Events& events = bench.events;
  BOOST_TEST(events.at("start 0 1") < events.at("finish 1.0.0 1"));
  BOOST_TEST(events.at("finish 1.0.0 1") < events.at("start 2 1"));
  BOOST_TEST(events.has("finish 2 1"));
}

BOOST_AUTO_TEST_CASE(runs_what_is_independent_at_once) {
  Bench bench;
  bench.provider.fake->hold = 6;  // answers nothing before all six are there
  bench.run(
      "(seq (plus (g m \"a\") (g m \"b\") (par (g m \"c\") (map m (list \"d\" \"e\"))) (g m "
      "\"f\")))");
  BOOST_TEST(bench.provider.fake->most_at_once == 6u);
  BOOST_TEST(bench.provider.loads == 1);
}

BOOST_AUTO_TEST_CASE(fans_out_a_thousand) {
  Bench bench;
  bench.provider.fake->hold = 1000;
  Plus plus;
  for (int i = 0; i < 1000; ++i)
    plus.children.push_back({Generate{"f/m", {}, QueryBox({User{std::to_string(i)}, {}})}, {}});
  bench.run(Query{std::move(plus), {}});
  const auto& children = std::get<Plus>(bench.result.node).children;
  BOOST_TEST(children.size() == 1000u);
  BOOST_TEST(std::get<Assistant>(children[999].node).text == "999!");
}

BOOST_AUTO_TEST_CASE(a_failure_cancels_the_rest) {
  Bench bench;
  bench.provider.fake->hold = 1000;  // nobody ends by itself
  bench.provider.fake->fail_on = "bad";
  BOOST_TEST(
      bench.error("(plus (g m \"a\") (g m \"b\")\n (seq (g m \"bad\") (print \"never\")))") ==
      "it broke (node 2.0, line 2, column 7)");
  for (const std::string& event : bench.events.log) BOOST_TEST(event != "print never");
}

BOOST_AUTO_TEST_CASE(stops_when_asked) {
  Bench bench;
  bench.provider.fake->hold = 1000;
  std::stop_source stop;
  std::jthread later(
      [&] { std::this_thread::sleep_for(std::chrono::milliseconds(30)), stop.request_stop(); });
  const auto interrupted = [](const Error& e) { return e.code() == ErrorCode::kInterrupted; };
  BOOST_CHECK_EXCEPTION(bench.run("(plus (g m \"a\") (g m \"b\"))", stop.get_token()), Error,
                        interrupted);
  BOOST_CHECK_EXCEPTION(bench.run("(g m \"a\")", stop.get_token()), Error, interrupted);
  Bench loading;
  loading.provider.waits = true;
  std::stop_source stop_loading;
  std::jthread then([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30)), stop_loading.request_stop();
  });
  BOOST_CHECK_EXCEPTION(loading.run("(g m \"a\")", stop_loading.get_token()), Error, interrupted);
}

BOOST_AUTO_TEST_CASE(survives_observers_that_throw) {
  Bench bench;
  bench.events.throws = true;
  bench.provider.fake->hold = 1000;
  BOOST_CHECK_THROW(bench.run("(plus (g m \"a\") (print \"x\"))"), std::runtime_error);
}

BOOST_AUTO_TEST_CASE(bounds_remote_generations_only) {
  const std::string text = "(plus (g m \"a\") (g m \"b\") (map m (list \"c\" \"d\" \"e\")))";
  Bench remote;
  remote.provider.abilities = {"remote"};
  remote.options.num_parallel = 3;
  remote.provider.fake->hold = 3;
  remote.run(text);
  BOOST_TEST(remote.provider.fake->most_at_once == 3u);
  BOOST_TEST(remote.provider.fake->requests.size() == 5u);
  Bench samples;  // each sample is a generation of its own where they are asked one by one
  samples.provider.abilities = {"remote"};
  samples.options.num_parallel = 1;
  samples.run("(repeat 4 m \"a\" 1 1)");
  BOOST_TEST(samples.provider.fake->most_at_once == 1u);
  BOOST_TEST(std::get<Par>(samples.result.node).children.size() == 4u);
  Bench local;
  local.options.num_parallel = 1;
  local.provider.fake->hold = 5;
  local.run(text);
  BOOST_TEST(local.provider.fake->most_at_once == 5u);
}

BOOST_AUTO_TEST_CASE(remote_generations_may_wait_longer_than_their_model_is_held) {
  Bench bench;
  bench.provider.abilities = {"remote"};
  bench.options.num_parallel = 1;
  const auto other = bench.provider.others["f/o"] = std::make_shared<FakeModel>();
  bench.provider.fake->finish = other->finish = FinishReason::kLength;
  bench.run("(plus (repeat 20 m \"a\" 0.5) (repeat 20 \"f/o\" \"b\" 0.5))");
  for (const char* node : {"0", "1"})
    BOOST_TEST(std::count(bench.events.log.begin(), bench.events.log.end(),
                          "node " + std::string(node) +
                              " ended early: the model's context of 2048 tokens is full") == 20);
}

BOOST_AUTO_TEST_CASE(reads_the_bound_from_the_environment) {
  Bench bench;
  bench.provider.abilities = {"remote"};
  ::setenv("SPNL_NUM_PARALLEL", "4", 1);
  bench.provider.fake->hold = 4;
  bench.run("(map m (list \"a\" \"b\" \"c\" \"d\" \"e\"))");
  BOOST_TEST(bench.provider.fake->most_at_once == 4u);
  ::setenv("SPNL_NUM_PARALLEL", "many", 1);
  BOOST_TEST(
      Bench().error("(g m \"a\")") ==
      "SPNL_NUM_PARALLEL is 'many' (environment); give a whole number from 1, or nothing for 2");
  ::unsetenv("SPNL_NUM_PARALLEL");
}

BOOST_AUTO_TEST_CASE(generates_once_what_must_be_the_same) {
  Bench bench;
  const std::string out = bench.run(
      "(plus (g m \"a\" 0) (map m (list \"b\" \"a\" \"b\") 0) (g m (g m \"a\" 0) 0) (g m \"a\" 0) "
      "(g m "
      "\"a\" 0.5))");
  BOOST_TEST(
      out ==
      "(plus (assistant \"a!\") (par (assistant \"b!\") (assistant \"a!\") (assistant \"b!\")) "
      "(assistant \"a!!\") (assistant \"a!\") (assistant \"a!\"))");
  BOOST_TEST(bench.provider.fake->requests.size() == 4u);
  BOOST_TEST(bench.events.has("nodes 1.1, 3, 2.0 ask the same as node 0: generated once"));
  BOOST_TEST(bench.events.has("node 1.2 asks the same as node 1.0: generated once"));
  for (const GenerateRequest& request :
       bench.provider.fake->requests)  // the served keep the lineage
    if (shown(request.prompt).starts_with("[a:"))
      BOOST_TEST(shown(request.prompt).find("#") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(shares_nothing_that_may_differ) {
  const auto asked = [](const std::string& text) {
    Bench bench;
    bench.run(text);
    return bench.provider.fake->requests.size();
  };
  const std::string seeded = "(generate (model m) (seed 3) (temperature 1) (input \"a\"))";
  BOOST_TEST(asked("(plus (g m \"a\" 0.5) (g m \"a\" 0.5))") == 2u);
  BOOST_TEST(asked("(plus " + seeded + seeded + ")") == 1u);
  // An inner generate that may differ makes the outer prompts differ.
  BOOST_TEST(asked("(plus (g m (g m \"a\" 0.5) 0) (g m (g m \"a\" 0.5) 0))") == 4u);
  BOOST_TEST(asked("(plus (g m (g m \"a\" 0) 0) (g m (g m \"a\" 0) 0))") == 2u);
  // What is shown is shown as often as it is written.
  BOOST_TEST(asked("(plus (g m (seq \"a\" (print \"x\")) 0) (g m (seq \"a\" (print \"x\")) 0))") ==
             2u);
  BOOST_TEST(asked("(seq (monad (g m \"a\" 0)) (g m \"a\" 0))") == 1u);
}

BOOST_AUTO_TEST_CASE(asks_for_one_of_samples_that_are_alike) {
  Bench bench;
  BOOST_TEST(bench.run("(repeat 3 m \"a\" 0 5)") ==
             "(par (assistant \"a!\") (assistant \"a!\") (assistant \"a!\"))");
  BOOST_TEST(bench.provider.fake->requests.at(0).samples == 1u);
  BOOST_TEST(
      bench.events.has("the 3 samples of node root are alike at temperature 0: generated once"));
}

BOOST_AUTO_TEST_CASE(keeps_what_does_not_depend_on_a_failure) {
  Bench bench;
  bench.options.keep_going = true;
  bench.provider.fake->fail_on = "bad";
  BOOST_TEST(
      bench.run(
          "(seq (g m \"a\") (g m (plus (g m \"bad\") (g m \"b\")))\n (zip (g m \"bad 2\") \"z\") "
          "(monad (g m \"bad 3\")) (map m (list \"c\" \"bad 4\" \"d\")))") ==
      "(seq (assistant \"a!\") (par (assistant \"c!\") (assistant \"d!\")))");
  const Events& events = bench.events;
  BOOST_TEST(events.has("failed 1.0.0 it broke (node 1.0.0, line 1, column 27)"));
  BOOST_TEST(events.has("failed 2.0 it broke (node 2.0, line 2, column 7)"));
  BOOST_TEST(events.has("failed 4.1 it broke (node 4.1, line 2, column 48)"));
  BOOST_TEST(!events.has("start 1 1"));
  BOOST_TEST(std::count_if(events.log.begin(), events.log.end(), [](const std::string& event) {
               return event.starts_with("failed");
             }) == 4);
}

BOOST_AUTO_TEST_CASE(keeps_going_past_models_that_are_missing) {
  Bench bench;
  bench.options.keep_going = true;
  bench.provider.missing = "f/none";
  BOOST_TEST(bench.run("(par (g \"f/none\" \"a\") (g m \"b\") (g \"f/none\" \"c\"))") ==
             "(assistant \"b!\")");
  BOOST_TEST(bench.events.has("failed 0 no such model (f/none)"));
  Bench refusing;
  refusing.options.keep_going = true;
  refusing.provider.abilities.clear();
  refusing.provider.fake->refuse = "bad";
  BOOST_TEST(refusing.run("(par (repeat 2 m \"bad\" 1) (g m \"b\") (g m (print \"x\")))") ==
             "(assistant \"b!\")");
  BOOST_TEST(refusing.events.has("failed 0 it refuses (node 0, line 1, column 6)"));
  BOOST_TEST(refusing.events.has(
      "failed 2 the input of this generate is empty (node 2, line 1, column 37)"));
}

/// Notes which models are held when one of them generates.
struct Held : evaluator::ModelProvider {
  struct Named : FakeModel {
    Named(Held& all, std::string its_name) : held(all), name(std::move(its_name)) {}
    uint64_t generate(GenerateRequest request, GenerateHandlers handlers) override {
      const std::lock_guard lock(held.mutex);
      std::string& line = held.log.emplace_back(name + ":");
      for (const auto& [other, model] : held.models)
        if (!model.expired()) line += " " + other;
      return FakeModel::generate(std::move(request), std::move(handlers));
    }
    Held& held;
    const std::string name;
  };
  std::shared_ptr<Model> load(const std::string& name, const LoadOptions&,
                              std::stop_token) override {
    const std::lock_guard lock(mutex);
    for (const auto& [other, model] : models)
      if (one_at_a_time && other != name && !model.expired())
        throw Error(ErrorCode::kNoRoom, "no room", name);
    auto model = std::make_shared<Named>(*this, name);
    models[name] = model;
    return model;
  }
  std::vector<std::string> capabilities(const std::string&) const override { return {}; }

  bool one_at_a_time = false;
  std::mutex mutex;
  std::map<std::string, std::weak_ptr<Model>> models;
  std::vector<std::string> log;
};

BOOST_AUTO_TEST_CASE(holds_a_model_while_it_works) {
  Held held;
  Events events;
  const std::string query = "(g \"f/a\" (cross (g \"f/b\" (cross (g \"f/a\" \"x\") \"y\")) \"z\"))";
  evaluator::evaluate(read_lisp(query, {}), held, {}, events, {});
  // Both are loaded before anything runs, so that a missing one is known; who has no work is let
  // go.
  BOOST_REQUIRE(held.log.size() == 3u);
  BOOST_TEST(held.log[1] == "f/b: f/b");
  BOOST_TEST(held.log[2] == "f/a: f/a");
}

BOOST_AUTO_TEST_CASE(models_take_turns_where_memory_is_short) {
  Held held;
  held.one_at_a_time = true;
  Events events;
  const std::string query =
      "(plus (g \"f/a\" (g \"f/b\" \"1\")) (g \"f/b\" (g \"f/a\" \"2\")) (g \"f/c\" \"3\"))";
  const Query result = evaluator::evaluate(read_lisp(query, {}), held, {}, events, {});
  BOOST_TEST(held.log.size() == 5u);
  for (const std::string& line : held.log) BOOST_TEST(line.size() == 8u, line);  // "f/a: f/a"

  const auto kept = held.load("f/d", {}, {});  // never let go
  BOOST_CHECK_EXCEPTION(evaluator::evaluate(read_lisp(query, {}), held, {}, events, {}), Error,
                        [](const Error& e) { return e.code() == ErrorCode::kNoRoom; });
}

BOOST_AUTO_TEST_CASE(a_failure_fails_whom_it_serves) {
  Bench bench;
  bench.options.keep_going = true;
  bench.provider.fake->fail_on = "bad";
  BOOST_TEST(bench.run("(par (g m \"bad\" 0) (g m (g m \"bad\" 0) 0) (g m \"b\" 0))") ==
             "(assistant \"b!\")");
  BOOST_TEST(bench.provider.fake->requests.size() == 2u);
}

BOOST_AUTO_TEST_CASE(cancels_and_awaits_all) {
  Bench bench;
  bench.provider.fake->hold = 1000;
  bench.provider.fake->fail_on = "bad";
  BOOST_TEST(bench.error("(plus (g m \"a\") (g m \"b\") (repeat 3 m \"c\" 1) (g m \"bad\"))")
                 .starts_with("it broke"));
  BOOST_TEST(bench.provider.fake->cancelled == 3u);
  for (const char* node : {"0 1", "1 1", "2 3"})
    BOOST_TEST(bench.events.has(std::string("finish ") + node));
  BOOST_TEST(bench.provider.fake.use_count() == 1);  // nobody holds the model any more
}

}  // namespace
