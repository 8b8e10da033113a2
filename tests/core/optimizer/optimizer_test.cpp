#include "spnl/optimizer.h"

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "../evaluator/fake_model.h"
#include "../ir/random_query.h"
#include "ir/traverse.h"
#include "spnl/print.h"
#include "spnl/reader.h"

namespace {

using namespace spnl;

/// The backends of the cases: "m/x" can do both.
std::vector<std::string> abilities(const std::string& model) {
  if (model.starts_with("disable_bulk_map/")) return {"bulk_repeat"};
  if (model.starts_with("disable_bulk_repeat/")) return {"bulk_map"};
  if (model.starts_with("none/")) return {};
  if (model.starts_with("far/")) return {"bulk_map", "bulk_repeat", "remote"};
  if (model.starts_with("spans/")) return {"bulk_map", "bulk_repeat", "spans"};
  return {"bulk_map", "bulk_repeat"};
}

Query read(const std::string& text) {
  ReadOptions options;
  options.bindings = {{"m", std::string("m/x")},
                      {"mono", std::string("none/x")},
                      {"far", std::string("far/x")},
                      {"spans", std::string("spans/x")}};
  return read_lisp(text, options);
}

std::string flat(const Query& query) {
  std::string out;
  for (char c : print_lisp(query))
    if (c != '\n' && (c != ' ' || out.empty() || out.back() != ' ')) out += c;
  return out;
}

/// The shared cases are one JSON array; our reader reads one query a file, so cut it at its lines:
/// {"name": N, "before": Q, "after": Q}.
struct Case {
  std::string name, before, after;
};

std::vector<Case> shared_cases(const std::filesystem::path& file) {
  std::vector<Case> cases;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const std::string before = "\", \"before\": ", after = ", \"after\": ";
    const size_t name = line.find("\"name\": \"");
    if (name == std::string::npos) continue;
    const size_t b = line.find(before), a = line.rfind(after), end = line.rfind('}');
    cases.push_back({line.substr(name + 9, b - name - 9),
                     line.substr(b + before.size(), a - b - before.size()),
                     line.substr(a + after.size(), end - a - after.size())});
  }
  return cases;
}

BOOST_AUTO_TEST_CASE(simplifies_the_shared_cases) {
  const std::filesystem::path file =
      std::filesystem::path(SPNL_SHARED_DIR) / "spec" / "simplify-cases.json";
  if (!std::filesystem::exists(file)) {
    BOOST_TEST_MESSAGE("no " << file);
    return;
  }
  const auto cases = shared_cases(file);
  BOOST_TEST(cases.size() > 20u);
  for (const Case& one : cases) BOOST_TEST_CONTEXT(one.name) {
      const Query simple = simplify(read_json(one.before, {}), abilities);
      BOOST_TEST(print_json(simple) == print_json(read_json(one.after, {})));
    }
}

BOOST_AUTO_TEST_CASE(simplifies) {
  const std::pair<const char*, const char*> cases[] = {
      {"(seq \"a\" (seq) (par \"\") (plus (seq)) \"b\")", "(seq \"a\" \"b\")"},
      {"(par (plus \"a\") (plus \"b\" \"c\"))", "(plus \"a\" \"b\" \"c\")"},
      {"(par (plus \"a\"))", "(plus \"a\")"},
      {"(plus (seq (plus \"a\" \"b\") (print \"p\")) \"c\")",
       "(plus \"a\" \"b\" (print \"p\") \"c\")"},
      {"(plus (seq \"x\" (plus \"a\" \"b\")) \"c\")",
       "(plus (seq \"x\" (plus \"a\" \"b\")) \"c\")"},
      {"(cross (cross))", "(cross)"},
      {"(cross \"a\" (cross \"b\") (cross))", "(cross \"a\" \"b\")"},
      {"(par (plus (g m \"a\") (g m \"b\")) (plus (g m \"c\") (g m \"d\")))",
       "(par (map m (list \"a\" \"b\")) (map m (list \"c\" \"d\")))"},
      {"(par (plus (g m \"a\")) (plus (g m \"b\")))", "(map m (list \"a\" \"b\"))"},
      {"(plus (g m \"a\") (g m \"\"))", "(plus (g m \"a\") (g m (seq)))"},
      {"(plus (g m \"a\") (g mono \"b\"))", "(plus (g m \"a\") (g mono \"b\"))"},
      {"(map mono (list \"a\"))", "(plus (g mono \"a\"))"},
      {"(map mono (list))", "(seq)"},
      {"(map mono (list \"a\" \"\"))", "(plus (g mono \"a\") (g mono (seq)))"},
      {"(repeat 2 mono (seq \"a\") 1 1)", "(plus (g mono \"a\" 1 1) (g mono \"a\" 1 1))"},
      {"(zip (seq) (plus \"a\"))", "(zip (seq) (plus \"a\"))"},
      {"(monad (seq \"\"))", "(monad (seq))"},
      {"(g m (par (par \"a\")))", "(g m \"a\")"},
  };
  for (const auto& [before, after] : cases) BOOST_TEST_CONTEXT(before) {
      BOOST_TEST(flat(simplify(read(before), abilities)) == flat(read(after)));
    }
}

BOOST_AUTO_TEST_CASE(leaves_bulk_forms_of_unnamed_models) {
  for (const char* text :
       {"(repeat 2 (generate (input \"a\") (temperature 1)))", "(map (inputs \"a\" \"b\"))",
        "(plus (generate (input \"a\")) (generate (input \"b\")))"})
    BOOST_TEST(flat(simplify(read(text), abilities)) == flat(read(text)));
}

BOOST_AUTO_TEST_CASE(unrolls_seeds_and_bounds_what_multiplies) {
  const Query query = simplify(
      read("(repeat 3 (g (model mono) (seed 7) (temperature 1) (input \"a\")))"), abilities);
  std::set<uint64_t> seeds;
  for (const Query& child : std::get<Plus>(query.node).children)
    seeds.insert(*std::get<Generate>(child.node).sampling.seed);
  BOOST_TEST(seeds.size() == 3u);
  BOOST_TEST(seeds.contains(7));
  std::string text = "\"a\"";
  for (int i = 0; i < 20; ++i) text = "(repeat 250 mono " + text + " 1 1)";
  const Query huge = simplify(read(text), abilities);
  BOOST_TEST(std::holds_alternative<Repeat>(huge.node));
  BOOST_TEST((simplify(huge, abilities) == huge));
}

BOOST_AUTO_TEST_CASE(keeps_positions) {
  const Query query =
      simplify(read("(plus (seq \"a\")\n (g mono\n  (seq \"b\" (seq \"c\" \"d\"))))"), abilities);
  const QueryList& children = std::get<Plus>(query.node).children;
  BOOST_TEST(children.at(0).position.column == 12u);
  BOOST_TEST(children.at(1).position.line == 2u);
  BOOST_TEST(std::get<Generate>(children.at(1).node).input->position.line == 3u);
}

BOOST_AUTO_TEST_CASE(simplifies_deep_trees) {
  for (const char* kind : {"(seq \"a\" ", "(cross \"a\" ", "(plus \"a\" ", "(par (plus ", "(monad ",
                           "(g m ", "(seq (cross "}) {
    const std::string open = kind;
    const auto levels = std::count(open.begin(), open.end(), '(');
    std::string text;
    for (int i = 0; i < 9900 / levels; ++i) text += open;
    text += "\"z\"" + std::string(static_cast<size_t>(9900 / levels * levels), ')');
    const Query simple = simplify(read(text), abilities);
    BOOST_TEST((simplify(simple, abilities) == simple));
    plan(simple, abilities, {});
  }
}

/// What a generate's model reads, with inner generates in the place of their outputs; "Z" and "M"
/// stand for nodes whose children keep their sides.
void linear(const Query& query, std::string& out) {
  const auto generate = [&](const Generate& g) {
    out += "G<" + g.model + "|";
    linear(*g.input, out);
    out += ">";
  };
  std::visit(
      [&](const auto& node) {
        using T = std::remove_cvref_t<decltype(node)>;
        if constexpr (ir::is_message<T>) {
          if (!node.text.empty())
            out += std::to_string(query.node.index()) + std::to_string(node.text.size()) + ":" +
                   node.text;
        } else if constexpr (ir::is_list<T>) {
          for (const Query& child : node.children) linear(child, out);
        } else if constexpr (std::is_same_v<T, Generate>) {
          generate(node);
        } else if constexpr (std::is_same_v<T, Repeat>) {
          for (uint32_t i = 0; i < node.n; ++i) generate(node.generate);
        } else if constexpr (std::is_same_v<T, Map>) {
          for (const std::string& input : node.inputs)
            generate({node.model, node.sampling, QueryBox({User{input}, {}})});
        } else if constexpr (std::is_same_v<T, Zip>) {
          out += "Z<", linear(*node.first, out), out += "|", linear(*node.second, out), out += ">";
        } else if constexpr (std::is_same_v<T, Monad>) {
          out += "M<", linear(*node.query, out), out += ">";
        } else {
          out += print_json(query);
        }
      },
      query.node);
}

std::string linear(const Query& query) {
  std::string out;
  linear(query, out);
  return out;
}

/// Random repeats are of up to 255 samples, and of few models: here fewer, and of more abilities.
void tame(Query& query, std::mt19937_64& random) {
  static const char* const kModels[] = {"m/x", "disable_bulk_map/x", "disable_bulk_repeat/x",
                                        "none/x"};
  if (auto* repeat = std::get_if<Repeat>(&query.node)) {
    repeat->n = 1 + static_cast<uint32_t>(random() % 3);
    repeat->generate.model = kModels[random() % 4];
  }
  if (auto* map = std::get_if<Map>(&query.node)) map->model = kModels[random() % 4];
  if (auto* generate = std::get_if<Generate>(&query.node)) {
    generate->model = kModels[random() % 2];
    generate->sampling = {};
  }
  ir::for_each_child(query, [&](Query& child) { tame(child, random); });
}

BOOST_AUTO_TEST_CASE(simplify_is_idempotent_and_keeps_prompts) {
  std::mt19937_64 random(20);
  for (int i = 0; i < 10'000; ++i) {
    Query query = test::random_query(random, 2 + i % 9);
    tame(query, random);
    const Query simple = simplify(query, abilities);
    if (linear(query) != linear(simple) || !(simplify(simple, abilities) == simple)) {
      BOOST_TEST_CONTEXT(print_json(query)) {
        BOOST_TEST(linear(query) == linear(simple));
        BOOST_TEST(print_json(simplify(simple, abilities)) == print_json(simple));
      }
      return;
    }
  }
}

/// What cannot run here becomes a message.
void make_runnable(Query& query) {
  if (std::holds_alternative<Augment>(query.node) || std::holds_alternative<Fetch>(query.node))
    query.node = User{"f"};
  ir::for_each_child(query, [](Query& child) { make_runnable(child); });
}

BOOST_AUTO_TEST_CASE(a_simplified_query_asks_and_yields_the_same) {
  std::mt19937_64 random(21);
  int asked = 0;
  for (int i = 0; i < 150; ++i) {
    Query query = test::random_query(random, 3 + i % 5);
    tame(query, random);
    make_runnable(query);
    const auto run = [](const Query& what) {
      test::Bench bench;
      bench.options.keep_going = true;
      bench.options.ask = [](const std::string& prompt) { return "to " + prompt; };
      bench.run(what);
      std::set<std::string> prompts;
      for (const GenerateRequest& request : bench.provider.fake->requests) {
        std::string prompt;
        for (char c : test::shown(request.prompt))  // independence may be marked differently
          if (std::string("[]{} ").find(c) == std::string::npos) prompt += c;
        prompts.insert(prompt.substr(0, prompt.find('#')));
      }
      return std::pair(result_text(bench.result), prompts);
    };
    const auto before = run(query), after = run(simplify(query, abilities));
    asked += static_cast<int>(before.second.size());
    BOOST_TEST_CONTEXT(print_json(query)) {
      BOOST_TEST(before.first == after.first);
      BOOST_TEST(before.second == after.second, boost::test_tools::per_element());
    }
  }
  BOOST_TEST(asked > 50);
}

BOOST_AUTO_TEST_CASE(retrieves) {
  PassContext context{abilities, [](const Augment& augment) {
                        const std::string& text = std::get<std::string>(augment.document.content);
                        return QueryList{{User{text + "1"}, {}}, {User{text + "2"}, {}}};
                      }};
  const auto augmented = [](const std::string& model) {
    Query query = read("(g " + model + " (cross (system \"s\") (plus \"here\") \"q\") 0.5 9)");
    Cross& cross = std::get<Cross>(std::get<Generate>(query.node).input->node);
    std::get<Plus>(cross.children[1].node).children[0].node =
        Augment{"e", QueryBox({User{"q"}, {}}), {"d.txt", std::string("t")}};
    return query;
  };
  const std::string plain = flat(simplify(retrieve(augmented("m"), context), abilities));
  BOOST_TEST(plain == flat(read("(g m (cross (system \"s\") (plus \"t1\" \"t2\") \"q\") 0.5 9)")));
  const Query warmed = retrieve(augmented("spans"), context);
  BOOST_TEST(flat(simplify(warmed, abilities)) ==
             flat(read("(g spans (cross (system \"s\") (plus (monad (plus "
                       "(g spans (cross (system \"s\") (plus \"t1\")) 0 1)"
                       "(g spans (cross (system \"s\") (plus \"t2\")) 0 1))) \"t1\" \"t2\") \"q\") "
                       "0.5 9)")));
  BOOST_TEST((retrieve(warmed, context) == warmed));
  context.fragments = nullptr;
  BOOST_TEST((retrieve(augmented("m"), context) == augmented("m")));
  const QueryPlan without = plan(augmented("m"), abilities, {});
  BOOST_TEST(without.notes.at(0).find("none is installed") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(hints_at_spans) {
  const std::string long_text = "\"" + std::string(600, 'x') + "\"";
  const auto notes = [&](const std::string& text, const std::string& mode = "",
                         const std::string& context = "") {
    EvaluateOptions options;
    options.defaults.spans = mode;
    options.request.span_context = context;
    std::string all;
    for (const std::string& note : plan(read(text), abilities, options).notes) all += note + "\n";
    return all;
  };
  const std::string plus = "(plus " + long_text + " (seq " + long_text + "))";
  const std::string bare = "(g spans (cross " + plus + " \"q\"))";
  const std::string with = "(g spans (cross (system \"s\") " + plus + " \"q\"))";
  BOOST_TEST(
      notes(with) ==
      "node root: its plus holds about 300 tokens in 2 fragments; --spans block computes each "
      "once in whatever order it comes again, --spans blend:16 all but its first 16 tokens; "
      "both change answers\n");
  BOOST_TEST(notes(with, "block") == "");
  BOOST_TEST(notes(bare, "block").find("node root: no system message stands before its plus") ==
             0u);
  BOOST_TEST(notes(bare, "block", "none") == "");
  BOOST_TEST(notes(bare).find("no system message") != std::string::npos);
  BOOST_TEST(notes("(g spans (cross (plus \"short\") \"q\"))") == "");
  BOOST_TEST(notes("(g m (cross " + plus + " \"q\"))") == "");
  BOOST_TEST(notes("(g m (cross " + plus + " \"q\"))", "blend:4") ==
             "node root: m/x does not cache spans, so 'blend:4' is run as 'exact'\n");
  BOOST_TEST(notes("(g spans (cross (system \"s\") (plus (g m \"a\") (g m \"b\"))))", "block")
                 .find("outputs that are compared do not see each other") != std::string::npos);
  BOOST_TEST(notes("(g spans (cross \"q\" (g spans " + plus + ")))").find("node 0.1: its plus") ==
             0u);
  BOOST_TEST(notes("(g spans (seq (monad " + plus + ") \"q\"))") == "");
}

BOOST_AUTO_TEST_CASE(plans) {
  EvaluateOptions options;
  options.default_model = "m/x";
  options.default_max_tokens = 7;
  const QueryPlan made = plan(
      read(
          "(g m (seq (system \"judge\") (plus (repeat 4 m \"write\" 0.8 40) (g far \"b\") (g far "
          "\"c\" 1)) (generate (input \"b\") (temperature 0)) (generate (input \"b\") (temperature "
          "0)) (monad (g m \"w\"))))"),
      abilities, options);
  const auto& all = made.generates;
  BOOST_TEST(all.size() == 7u);
  BOOST_TEST(all[0].node == "root");
  BOOST_TEST(all[0].stage == 1u);
  const std::vector<std::string> needs{"0.1.0", "0.1.1", "0.1.2", "0.2", "0.3"};
  BOOST_TEST(all[0].needs == needs, boost::test_tools::per_element());
  BOOST_TEST(
      all[0].prompt ==
      "system 'judge', (output of node 0.1.0), (output of node 0.1.1), (output of node 0.1.2), "
      "(output of node 0.2), (output of node 0.3)");
  BOOST_TEST(all[1].samples == 4u);
  BOOST_TEST(*all[1].sampling.max_tokens == 40u);
  BOOST_TEST(*all[4].sampling.max_tokens == 7u);
  BOOST_TEST(all[5].same_as == "0.2");
  const std::vector<std::string> lines{
      "stage 1:",
      "  batch 1: far/x, 2 sequences in parallel: nodes 0.1.1, 0.1.2 (at most SPNL_NUM_PARALLEL at "
      "once)",
      "  batch 2: m/x, 6 sequences side by side: nodes 0.1.0, 0.2, 0.4.0",
      "stage 2, after the stages before:",
      "  batch 3: m/x, 1 sequence: node root",
      "node 0.3 asks the same as node 0.2: generated once"};
  BOOST_TEST(plan_lines(made) == lines, boost::test_tools::per_element());
  const auto dry = dry_run_lines(made);
  BOOST_TEST(dry.at(1) ==
             "node 0.1.0: m/x, 4 samples, temperature 0.8, at most 40 tokens: user 'write'");
  BOOST_TEST(dry.at(5) == "node 0.3: as node 0.2");
  const QueryPlan warm =
      plan(read("(seq (g m \"a\") (seq (monad (g m \"w\")) (g m \"b\")) (g m (g m \"c\")))"),
           abilities, {});
  std::string stages;
  for (const PlannedGenerate& one : warm.generates)
    stages += one.node + ":" + std::to_string(one.stage) + " ";
  BOOST_TEST(stages == "0:0 1.0.0:0 1.1:1 2:3 2.0:2 ");
  BOOST_TEST(plan_lines(plan(read("\"a\""), abilities, {})).at(0) == "nothing is asked of a model");
  BOOST_CHECK_THROW(plan(read("(generate (input \"a\"))"), abilities, {}), Error);
}

BOOST_AUTO_TEST_CASE(names_its_passes) {
  std::mt19937_64 random(22);
  const PassContext context{abilities, {}};
  for (const Pass& pass : passes())
    for (int i = 0; i < 200; ++i) {
      Query query = test::random_query(random, 4);
      tame(query, random);
      const Query once = pass.rewrite(query, context);
      BOOST_TEST_CONTEXT(pass.name << " " << print_json(query)) {
        BOOST_TEST((pass.rewrite(once, context) == once));
      }
    }
}

}  // namespace
