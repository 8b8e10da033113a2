#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "evaluator/model_provider.h"
#include "spnl/error.h"
#include "spnl/print.h"
#include "spnl/reader.h"

namespace {

using namespace spnl;

void append(const Prompt& prompt, std::string& out) {
  if (prompt.kind == Prompt::Kind::kMessage) {
    out += prompt.role == Role::kSystem ? "s:" : prompt.role == Role::kAssistant ? "a:" : "u:";
    out += prompt.text;
    if (prompt.lineage != 0) out += "#" + std::to_string(prompt.lineage);
    return;
  }
  out += prompt.kind == Prompt::Kind::kIndependent ? "{" : "[";
  for (size_t i = 0; i < prompt.children.size(); ++i)
    out += (i > 0 ? " " : ""), append(prompt.children[i], out);
  out += prompt.kind == Prompt::Kind::kIndependent ? "}" : "]";
}

std::string shown(const Prompt& prompt) {
  std::string out;
  append(prompt, out);
  return out;
}

/// A model that answers "<last text>!" on a thread of its own, once `hold` generations are in
/// flight together.
class FakeModel : public Model {
 public:
  FakeModel() : thread_([this](std::stop_token stop) { serve(stop); }) {}
  ~FakeModel() override {
    thread_.request_stop();
    changed_.notify_all();
  }
  const ModelInfo& info() const override { return info_; }
  std::vector<int32_t> tokenize(const Prompt&, const PromptOptions&) override { return {}; }
  std::string detokenize(const std::vector<int32_t>&) override { return ""; }
  std::string render(const Prompt&, const PromptOptions&) override { return ""; }
  Score score(const std::vector<int32_t>&, uint32_t) override { return {}; }
  ModelStats stats() override { return {}; }
  uint64_t generate(GenerateRequest request, GenerateHandlers handlers) override {
    const std::lock_guard lock(mutex_);
    requests.push_back(request);
    queue_.push_back({++last_, std::move(request), std::move(handlers), false});
    most_at_once = std::max(most_at_once, queue_.size());
    changed_.notify_all();
    return last_;
  }
  void cancel(uint64_t generation) override {
    const std::lock_guard lock(mutex_);
    for (Work& work : queue_)
      if (work.number == generation) work.cancelled = true;
    changed_.notify_all();
  }

  std::vector<GenerateRequest> requests;
  size_t most_at_once = 0, hold = 1;
  std::string fail_on;  ///< prompts that hold this text fail
  FinishReason finish = FinishReason::kEos;

 private:
  struct Work {
    uint64_t number;
    GenerateRequest request;
    GenerateHandlers handlers;
    bool cancelled;
  };

  bool ready(const Work& work) const {
    return work.cancelled || most_at_once >= hold ||
           (!fail_on.empty() && shown(work.request.prompt).find(fail_on) != std::string::npos);
  }

  void serve(std::stop_token stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
      size_t i = 0;
      while (i < queue_.size() && !ready(queue_[i])) ++i;
      if (i == queue_.size()) {
        changed_.wait_for(lock, std::chrono::milliseconds(20));
        continue;
      }
      Work work = std::move(queue_[i]);
      queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(i));
      lock.unlock();
      answer(work);
      work = {};
      lock.lock();
    }
  }

  void answer(Work& work) {
    const Prompt& prompt = work.request.prompt;
    std::string text = shown(prompt);
    const bool fails = !fail_on.empty() && text.find(fail_on) != std::string::npos;
    const Prompt* last = &prompt;
    while (!last->children.empty()) last = &last->children.back();
    std::vector<Completion> all(work.request.samples);
    for (uint32_t i = 0; i < all.size(); ++i) {
      all[i].sample = i;
      all[i].sequence = work.number * 100 + i;
      all[i].finish = work.cancelled ? FinishReason::kCancelled
                      : fails        ? FinishReason::kError
                                     : finish;
      if (fails) all[i].error = "it broke";
      all[i].text = last->text + "!";
      all[i].usage.output_tokens = 1;
      if (!work.cancelled && !fails && work.handlers.on_tokens)
        work.handlers.on_tokens(i, all[i].text, {1});
    }
    work.handlers.on_finish(std::move(all));
  }

  ModelInfo info_{.architecture = "fake",
                  .device = "",
                  .dtype = "",
                  .eos = {},
                  .capabilities = {},
                  .context = 2048};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Work> queue_;
  uint64_t last_ = 0;
  std::jthread thread_;
};

struct Provider : evaluator::ModelProvider {
  std::shared_ptr<FakeModel> fake = std::make_shared<FakeModel>();
  std::atomic<int> loads{0};
  bool bulk_repeat = true, fails = false, waits = false;
  std::shared_ptr<Model> load(const std::string& name, const LoadOptions&,
                              std::stop_token stop) override {
    ++loads;
    while (waits && !stop.stop_requested())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (stop.stop_requested()) throw Error(ErrorCode::kInterrupted, "loading stopped");
    if (fails) throw Error(ErrorCode::kNotLoadable, "bad file", name);
    return fake;
  }
  std::vector<std::string> capabilities(const std::string&) const override {
    return bulk_repeat ? std::vector<std::string>{"bulk_repeat"} : std::vector<std::string>{};
  }
};

struct Events : Observer {
  std::vector<std::string> log;
  bool throws = false;
  void on_generate_start(const std::string& node, const std::string&, uint32_t samples) override {
    log.push_back("start " + node + " " + std::to_string(samples));
  }
  void on_text(const std::string& node, uint32_t sample, std::string_view text, size_t) override {
    log.push_back("text " + node + " " + std::to_string(sample) + " " + std::string(text));
  }
  void on_generate_finish(const std::string& node, const std::string&,
                          const std::vector<Completion>& done) override {
    log.push_back("finish " + node + " " + std::to_string(done.size()));
  }
  void on_print(const std::string& text) override {
    log.push_back("print " + text);
    if (throws) throw std::runtime_error("observer");
  }
  void on_note(const std::string& text) override { log.push_back(text); }
};

struct Bench {
  Provider provider;
  Events events;
  EvaluateOptions options;
  Query result;
  std::string run(const Query& query, std::stop_token stop = {}) {
    result = evaluator::evaluate(query, provider, options, events, stop);
    std::string out;
    for (char c : print_lisp(result))
      if (c != '\n' && (c != ' ' || out.empty() || out.back() != ' ')) out += c;
    return out;
  }
  std::string run(const std::string& text, std::stop_token stop = {}) {
    ReadOptions read;
    read.bindings = {{"m", std::string("f/m")}};
    return run(read_lisp(text, read), stop);
  }
  std::string error(const std::string& text) {
    try {
      run(text);
      return "no error";
    } catch (const Error& e) {
      return e.what();
    }
  }
};

BOOST_AUTO_TEST_CASE(shapes_results) {
  const std::pair<const char*, const char*> cases[] = {
      {"\"a\"", "(user \"a\")"},
      {"\"\"", "(seq)"},
      {"(seq \"a\" (seq \"b\" (print \"x\")) \"\")", "(seq (user \"a\") (user \"b\"))"},
      {"(plus (plus \"a\" \"b\") (seq (plus \"c\" \"d\")))",
       "(plus (user \"a\") (user \"b\") (user \"c\") (user \"d\"))"},
      {"(plus \"a\")", "(user \"a\")"},
      {"(par (plus \"a\" \"b\") (plus \"c\" \"d\"))",
       "(plus (user \"a\") (user \"b\") (user \"c\") (user \"d\"))"},
      {"(cross \"a\" (cross \"b\" \"c\"))", "(cross (user \"a\") (user \"b\") (user \"c\"))"},
      {"(cross (cross \"b\" \"c\") \"a\")",
       "(cross (cross (user \"b\") (user \"c\")) (user \"a\"))"},
      {"(g m \"a\")", "(assistant \"a!\")"},
      {"(repeat 2 m \"a\" 0 1)", "(par (assistant \"a!\") (assistant \"a!\"))"},
      {"(repeat 1 m \"a\" 0 1)", "(assistant \"a!\")"},
      {"(map m (list \"a\" \"b\"))", "(par (assistant \"a!\") (assistant \"b!\"))"},
      {"(map m (list))", "(seq)"},
      {"(seq (monad (g m \"a\")) \"b\")", "(user \"b\")"},
      {"(zip \"a\" \"b\")", "(seq (user \"a\") (user \"b\"))"},
      {"(zip \"a\" (par \"b\" \"c\"))",
       "(par (user \"a\") (user \"b\") (user \"a\") (user \"c\"))"},
      {"(zip (plus \"a\" \"x\") (par \"b\" \"c\"))",
       "(plus (user \"a\") (user \"x\") (user \"b\") (user \"a\") (user \"x\") (user \"c\"))"},
  };
  for (const auto& [text, expected] : cases) BOOST_TEST_CONTEXT(text) {
      BOOST_TEST(Bench().run(text) == expected);
    }
}

BOOST_AUTO_TEST_CASE(builds_prompts) {
  Bench bench;
  bench.run(
      "(g m (cross (system \"s\") (plus \"a\" (seq \"b\" \"c\") (g m \"d\")) (seq \"e\" (par \"f\" "
      "\"g\"))))");
  BOOST_TEST(shown(bench.provider.fake->requests.at(1).prompt) ==
             "[s:s {u:a [u:b u:c] a:d!#100} u:e u:f u:g]");
}

BOOST_AUTO_TEST_CASE(keeps_the_order_of_seq) {
  Bench bench;
  bench.run("(seq (print \"1\") (g m \"a\") (print \"2\") (g m \"b\"))");
  const std::vector<std::string> expected{"print 1", "start 1 1", "text 1 0 a!", "finish 1 1",
                                          "print 2", "start 3 1", "text 3 0 b!", "finish 3 1"};
  BOOST_TEST(bench.events.log == expected, boost::test_tools::per_element());
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

BOOST_AUTO_TEST_CASE(evaluates_deep_trees) {
  for (const char* kind : {"(seq \"a\" ", "(cross ", "(plus ", "(monad ", "(g m "}) {
    BOOST_TEST_CONTEXT(kind) {
      const int depth = std::string(kind) == "(g m " ? 300 : 3000;
      std::string text;
      for (int i = 0; i < depth; ++i) text += kind;
      text += "\"z\"" + std::string(static_cast<size_t>(depth), ')');
      Bench bench;
      bench.run(text);
      if (std::string(kind) == "(g m ")
        BOOST_TEST(result_text(bench.result) == "z" + std::string(300, '!'));
    }
  }
  std::string groups;  // a prompt whose groups alternate stays shallow
  for (int i = 0; i < 2000; ++i) groups += "(plus \"a\" (cross \"b\" ";
  Bench bench;
  bench.run("(g m " + groups + "\"z\"" + std::string(4001, ')'));
  BOOST_TEST(shown(bench.provider.fake->requests.at(0).prompt).size() > 8000u);
}

BOOST_AUTO_TEST_CASE(mixes_seeds) {
  const auto seeds = [](uint64_t seed, const std::string& text, bool bulk) {
    Bench bench;
    bench.options.seed = seed;
    bench.provider.bulk_repeat = bulk;
    bench.run(text);
    std::map<std::string, std::vector<uint64_t>> by_prompt;
    for (const GenerateRequest& request : bench.provider.fake->requests)
      by_prompt[shown(request.prompt)].push_back(*request.seed);
    return by_prompt;
  };
  const std::string text = "(plus (g m \"a\") (g m \"b\") (repeat 2 m \"c\" 1 1))";
  const auto one = seeds(1, text, false), again = seeds(1, text, false),
             other = seeds(2, text, false), bulk = seeds(1, text, true);
  BOOST_TEST((one == again));
  BOOST_TEST(one.at("[u:a]")[0] != one.at("[u:b]")[0]);
  BOOST_TEST(one.at("[u:a]")[0] != other.at("[u:a]")[0]);
  BOOST_TEST(one.at("[u:c]").size() == 2u);
  BOOST_TEST(one.at("[u:c]")[0] != one.at("[u:c]")[1]);
  BOOST_TEST(bulk.at("[u:c]").size() == 1u);
  BOOST_TEST(bulk.at("[u:c]")[0] == one.at("[u:c]")[0]);
  BOOST_TEST(seeds(1, "(generate (model m) (seed 5) (input \"a\"))", true).at("[u:a]")[0] == 5u);
}

BOOST_AUTO_TEST_CASE(fills_in_what_is_not_given) {
  Bench bench;
  bench.options.default_model = "f/m";
  bench.options.default_max_tokens = 9;
  bench.run(
      "(seq (generate (input \"a\")) (generate (input \"b\") (max-tokens 0) (temperature 0.25) "
      "(top-k 3)))");
  const auto& requests = bench.provider.fake->requests;
  BOOST_TEST(*requests.at(0).temperature == 0.6f);
  BOOST_TEST(*requests.at(0).max_tokens == 9u);
  BOOST_TEST(!requests.at(1).max_tokens.has_value());
  BOOST_TEST(*requests.at(1).temperature == 0.25f);
  BOOST_TEST(*requests.at(1).top_k == 3);
}

BOOST_AUTO_TEST_CASE(reports_failures) {
  BOOST_TEST(Bench().error("(seq (generate (input \"a\")))") ==
             "this generate names no model (node 0, line 1, column 6); name one, or give --model");
  BOOST_TEST(Bench().error("(ask \"who\")") ==
             "nobody answers 'who' (node root, line 1, column 1); give --prompt");
  BOOST_TEST(Bench().error("(fetch \"/nowhere\")") ==
             "file '/nowhere' cannot be read: there is no such file (node root, line 1, column 1)");
  BOOST_TEST(
      Bench().error("(fetch \"http://h/\")") ==
      "fetching http addresses is not supported in this build (node root, line 1, column 1)");
  BOOST_TEST(Bench().error("(g m (print \"x\"))") ==
             "the input of this generate is empty (node root, line 1, column 1)");
  std::string zips = "\"z\"";
  for (int i = 0; i < 40; ++i) zips = "(zip \"a\" " + zips + ")";
  BOOST_TEST(Bench().error(zips).starts_with("zip yields more than 1000000 messages"));
  BOOST_TEST(Bench()
                 .error("(zip (seq \"a\" \"b\") (seq \"c\" \"d\"))")
                 .starts_with("the first part of zip is a list"));
  Bench bench;
  bench.provider.fails = true;
  BOOST_TEST(bench.error("(g m \"a\")") == "bad file (f/m)");
}

BOOST_AUTO_TEST_CASE(answers_questions_once) {
  Bench bench;
  int asked = 0;
  bench.options.ask = [&](const std::string& prompt) { return ++asked, "to " + prompt; };
  BOOST_TEST(bench.run("(seq (ask \"q\") (ask \"q\"))") == "(seq (user \"to q\") (user \"to q\"))");
  BOOST_TEST(asked == 1);
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

BOOST_AUTO_TEST_CASE(notes_a_full_context) {
  Bench bench;
  bench.provider.fake->finish = FinishReason::kLength;
  bench.run("(seq (generate (model m) (max-tokens 1) (input \"a\")))");
  bench.run("(seq (generate (model m) (input \"a\")))");
  BOOST_TEST(std::count(bench.events.log.begin(), bench.events.log.end(),
                        "node 0 ended early: the model's context of 2048 tokens is full") == 1);
}

BOOST_AUTO_TEST_CASE(knows_which_tokens_are_the_result) {
  const auto node = [](const std::string& text) {
    ReadOptions read;
    read.bindings = {{"m", std::string("f/m")}};
    return streaming_node(read_lisp(text, read)).value_or("none");
  };
  BOOST_TEST(node("(g m (g m \"a\"))") == "root");
  BOOST_TEST(node("(seq (print \"x\") (monad (g m \"a\")) (plus (g m \"b\")))") == "2.0");
  BOOST_TEST(node("(map m (list \"a\"))") == "0");
  BOOST_TEST(node("(seq \"a\" (g m \"b\"))") == "none");
  BOOST_TEST(node("(repeat 2 m \"a\" 0)") == "none");
  BOOST_TEST(result_text(read_lisp("(seq \"a\" (plus \"b\" (print \"x\")))", {})) == "a\nb");
}

}  // namespace
