#include <boost/test/unit_test.hpp>
#include <map>

#include "fake_model.h"

namespace {

using namespace spnl;
using namespace spnl::test;

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
      {"(zip (seq \"a\" \"x\") (cross \"b\" \"c\"))",
       "(cross (seq (user \"a\") (user \"x\")) (user \"b\") (seq (user \"a\") (user \"x\")) (user "
       "\"c\"))"},
      {"(zip \"a\" (plus \"b\"))", "(seq (user \"a\") (user \"b\"))"},
      {"(zip (plus \"a\") (par \"b\" \"c\"))",
       "(par (user \"a\") (user \"b\") (user \"a\") (user \"c\"))"},
      {"(zip \"a\" (map m (list)))", "(seq)"},
      {"(zip (print \"a\") \"b\")", "(user \"b\")"},
      {"(zip (plus \"a\" \"x\") (seq \"b\" \"c\"))",
       "(seq (plus (user \"a\") (user \"x\") (user \"b\")) (plus (user \"a\") (user \"x\") (user "
       "\"c\")))"},
      {"(plus (repeat 2 m \"a\" 1 1))", "(par (assistant \"a!\") (assistant \"a!\"))"},
      {"(seq (plus (seq \"a\" \"b\")) \"c\")", "(seq (user \"a\") (user \"b\") (user \"c\"))"},
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

BOOST_AUTO_TEST_CASE(marks_fragments_that_stand_alone) {
  Bench bench;
  bench.run("(g m (cross (system \"s\") (plus (g m \"a\")) (plus (seq \"b\" \"c\")) \"d\"))");
  BOOST_TEST(shown(bench.provider.fake->requests.at(1).prompt) ==
             "[s:s {a:a!#100} {[u:b u:c]} u:d]");
}

BOOST_AUTO_TEST_CASE(evaluates_deep_trees) {
  for (const char* kind : {"(seq \"a\" ", "(cross ", "(plus ", "(monad ", "(g m "}) {
    BOOST_TEST_CONTEXT(kind) {
      const int depth = std::string(kind) == "(g m " ? 300 : 9900;
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
    if (!bulk) bench.provider.abilities.clear();
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
  BOOST_TEST(Bench().error("(seq (g m \"a\") (map m (list \"b\" \"\")))") ==
             "the input of this generate is empty (node 1.1, line 1, column 16)");
  try {
    Bench().run(Query{Augment{"e", QueryBox({User{"q"}, {}}), {"d", std::string("t")}}, {}});
    BOOST_TEST(false);
  } catch (const Error& error) {
    BOOST_TEST(error.message() == "no retrieval backend is installed");
    BOOST_TEST(error.where() == "node root");
    BOOST_TEST(error.hint() != "");
  }
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
