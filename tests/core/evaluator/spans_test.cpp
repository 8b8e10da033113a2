// What requests say about the independent groups of their prompts.
#include <boost/test/unit_test.hpp>

#include "fake_model.h"

namespace {

using namespace spnl;
using namespace spnl::test;

struct SpansBench : Bench {
  SpansBench() { provider.fake->can("spans"); }
  const std::vector<GenerateRequest>& requests() const { return provider.fake->requests; }
  size_t notes(const std::string& part) const {
    return static_cast<size_t>(
        std::count_if(events.log.begin(), events.log.end(),
                      [&](const std::string& line) { return line.find(part) != line.npos; }));
  }
};

BOOST_AUTO_TEST_CASE(settings_reach_the_model) {
  SpansBench bench;
  bench.options.defaults.spans = "block";
  bench.options.request.span_context = "bos";
  bench.options.request.span_order = "canonical";
  bench.run(
      "(seq (g m (cross (plus \"a\" \"b\") \"q\"))"
      " (generate (model m) (spans \"blend:4\") (input (plus \"c\"))))");
  BOOST_TEST(bench.requests().at(0).span_mode == "block");
  BOOST_TEST(bench.requests().at(0).span_context == "bos");
  BOOST_TEST(bench.requests().at(0).span_order == "canonical");
  BOOST_TEST(bench.requests().at(1).span_mode == "blend:4");
  BOOST_TEST(shown(bench.requests().at(1).prompt) == "[{u:c}]");
  BOOST_TEST(bench.notes("spans") == 0u);
}

BOOST_AUTO_TEST_CASE(a_model_without_spans_is_not_asked_for_them) {
  for (const bool canonical : {false, true}) {
    Bench bench;
    if (canonical)
      bench.options.request.span_order = "canonical";
    else
      bench.options.defaults.spans = "blend:8";
    bench.run("(seq (g m \"x\") (g m (plus \"a\" \"b\")) (g m (plus \"c\" \"d\")))");
    for (const GenerateRequest& request : bench.provider.fake->requests)
      if (shown(request.prompt) != "[u:x]") {
        BOOST_TEST(request.span_mode == "");
        BOOST_TEST(request.span_order == "");
      }
    const std::string asked = canonical ? "canonical order" : "blend:8";
    BOOST_TEST(std::count(bench.events.log.begin(), bench.events.log.end(),
                          "f/m does not cache spans: '" + asked +
                              "' is run as 'exact', in the order given") == 1);
  }
  Bench quiet;
  quiet.options.defaults.spans = "exact";
  quiet.run("(g m (plus \"a\" \"b\"))");
  BOOST_TEST(
      std::count_if(quiet.events.log.begin(), quiet.events.log.end(),
                    [](const std::string& line) { return line.find("span") != line.npos; }) == 0);
}

BOOST_AUTO_TEST_CASE(fragments_that_are_read_again_are_kept) {
  SpansBench bench;
  bench.run(
      "(g m (cross (plus \"a\" (seq \"b\" \"c\"))"
      " (g m (cross (plus (seq \"b\" \"c\") \"a\" \"d\") \"q1\")) \"q2\"))");
  const auto& all = bench.requests();
  BOOST_REQUIRE_EQUAL(all.size(), 2u);
  const Prompt& inner = all[0].prompt.children.at(0);
  BOOST_TEST(shown(inner) == "{[u:b u:c] u:a u:d}");
  for (const size_t again : {0u, 1u}) {
    BOOST_TEST(inner.children.at(again).pin);
    BOOST_TEST(inner.children.at(again).next_use == 2u);
  }
  BOOST_TEST(!inner.children.at(2).pin);
  BOOST_TEST(inner.children.at(2).next_use == 0u);
  for (const Prompt& last : all[1].prompt.children.at(0).children) BOOST_TEST(!last.pin);
}

BOOST_AUTO_TEST_CASE(other_models_do_not_read_the_same_cache) {
  SpansBench bench;
  const auto other = bench.provider.others["f/o"] = std::make_shared<FakeModel>();
  other->can("spans");
  bench.run("(g m (cross (plus \"a\" (g \"f/o\" (plus \"a\" \"b\")) (g m (plus \"a\" \"c\")))))");
  BOOST_TEST(!other->requests.at(0).prompt.children.at(0).children.at(0).pin);
  const Prompt outer = bench.requests().back().prompt;
  BOOST_TEST(shown(outer) == "[{u:a a:b! a:c!#100}]");  // only one came from the reader's model
}

BOOST_AUTO_TEST_CASE(what_only_warms_the_cache_is_prefilled) {
  SpansBench bench;
  bench.run(
      "(g m (cross (system \"s\") (monad (g m (cross (system \"s\") (plus \"a\")) 0 1))"
      " (plus \"a\") \"q\") 0 1)");
  const GenerateRequest &prepare = bench.requests().at(0), &reader = bench.requests().at(1);
  BOOST_TEST(prepare.prefill_only);
  BOOST_TEST(prepare.prompt_options.no_generation);
  BOOST_TEST(shown(prepare.prompt) == "[s:s {u:a}]");
  BOOST_TEST(prepare.prompt.children.at(1).children.at(0).next_use == 2u);
  BOOST_TEST(!reader.prefill_only);
  BOOST_TEST(bench.notes("context") == 0u);
  for (const char* asks : {"(monad (g m (plus \"a\") 0 2))", "(monad (g m (plus \"a\") 1 1))",
                           "(g m (plus \"a\") 0 1)", "(monad (g m \"a\" 0 1))",
                           "(monad (g m (g m (plus \"a\") 0 1)))"}) {
    SpansBench whole;
    whole.run(asks);
    BOOST_TEST(!whole.requests().at(0).prefill_only, asks);
  }
  SpansBench served;  // what asks the same outside the monad gets this answer
  BOOST_TEST(served.run("(seq (monad (g m (plus \"a\") 0 1)) (g m (plus \"a\") 0 1))") ==
             "(assistant \"a!\")");
  BOOST_TEST(served.requests().size() == 1u);
  BOOST_TEST(!served.requests().at(0).prefill_only);
}

}  // namespace
