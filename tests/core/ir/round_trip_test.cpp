#include <boost/test/unit_test.hpp>
#include <fstream>
#include <iterator>
#include <sstream>

#include "random_query.h"
#include "spnl/error.h"
#include "spnl/print.h"
#include "spnl/reader.h"

namespace {

using namespace spnl;

struct Way {
  const char* name;
  std::string (*print)(const Query&);
  Spelling spelling;
};

const Way kWays[] = {
    {"Lisp", print_lisp, Spelling::kLisp},
    {"JSON", [](const Query& query) { return print_json(query); }, Spelling::kJson},
    {"indented JSON", [](const Query& query) { return print_json(query, 2); }, Spelling::kJson},
    {"YAML", print_yaml, Spelling::kYaml},
};

Query read_back(const Way& way, const Query& query) {
  return read_query(way.print(query), way.spelling, {});
}

BOOST_AUTO_TEST_CASE(random_trees_survive_every_spelling_after_every_other) {
  std::mt19937_64 random(20240611);
  for (int i = 0; i < 10'000; ++i) {
    const Query query = test::random_query(random, 1 + i % 8);
    // Through all spellings in turn: each reads what the one before has made.
    Query carried = query;
    for (const Way& way : kWays) {
      BOOST_TEST_CONTEXT("tree " << i << " as " << way.name << ":\n" << way.print(carried)) {
        Query back = read_back(way, carried);
        BOOST_TEST_REQUIRE((back == query));
        BOOST_TEST((way.print(back) == way.print(query)));
        carried = std::move(back);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(deep_trees_survive) {
  const auto nested = [](size_t depth) {
    Query query{User{"a"}, {}};
    for (size_t i = 1; i < depth; ++i) {
      QueryList one;
      one.push_back(std::move(query));
      query = i % 2 == 0 ? Query{Seq{std::move(one)}, {}} : Query{Plus{std::move(one)}, {}};
    }
    return query;
  };
  for (const Way& way : kWays) {
    BOOST_TEST_CONTEXT(way.name) {
      const Query query = nested(way.spelling == Spelling::kYaml ? 240 : 9'999);
      BOOST_TEST((read_back(way, query) == query));
      const std::string deeper = way.print(nested(way.spelling == Spelling::kYaml ? 600 : 10'002));
      BOOST_CHECK_THROW(read_query(deeper, way.spelling, {}), Error);
    }
  }
  BOOST_TEST(print_tree(nested(20'000)).ends_with("deeper levels are left out"));
}

BOOST_AUTO_TEST_CASE(prints_in_the_shape_that_people_expect) {
  const Query query = read_lisp(
      "(g \"m\" (seq (system \"one\\ntwo\") (plus (repeat 2 \"m\" \"a: b\" 0.1 5)) (seq) (print "
      "\"yes\")) 0.5)",
      {});
  BOOST_TEST(print_lisp(query) ==
             "(generate (model \"m\") (temperature 0.5) (input\n"
             "  (seq\n"
             "    (system \"one\\ntwo\")\n"
             "    (plus (repeat 2 (generate (model \"m\") (max-tokens 5) (temperature 0.1) (input "
             "(user \"a: b\")))))\n"
             "    (seq)\n"
             "    (print \"yes\"))))");
  BOOST_TEST(
      print_json(query) ==
      "{\"g\":{\"model\":\"m\",\"temperature\":0.5,\"input\":{\"seq\":[{\"system\":\"one\\ntwo\"},"
      "{\"plus\":[{\"repeat\":{\"n\":2,\"g\":{\"model\":\"m\",\"max_tokens\":5,\"temperature\":0.1,"
      "\"input\":{\"user\":\"a: b\"}}}}]},{\"seq\":[]},{\"print\":\"yes\"}]}}}");
  BOOST_TEST(
      print_json(read_lisp("(plus (par) \"a\")", {}), 2) ==
      "{\n  \"plus\": [\n    {\n      \"par\": []\n    },\n    {\n      \"user\": \"a\"\n    "
      "}\n  ]\n}");
  BOOST_TEST(print_yaml(query) ==
             "g:\n"
             "  model: m\n"
             "  temperature: 0.5\n"
             "  input:\n"
             "    seq:\n"
             "      - system: |-\n"
             "          one\n"
             "          two\n"
             "      - plus:\n"
             "          - repeat:\n"
             "              n: 2\n"
             "              g:\n"
             "                model: m\n"
             "                max_tokens: 5\n"
             "                temperature: 0.1\n"
             "                input:\n"
             "                  user: \"a: b\"\n"
             "      - seq: []\n"
             "      - print: \"yes\"");
  BOOST_TEST(
      print_tree(query) ==
      "generate m  temperature 0.5\n"
      "\xE2\x94\x94\xE2\x94\x80 seq\n"
      "   \xE2\x94\x9C\xE2\x94\x80 system 'one\\ntwo'\n"
      "   \xE2\x94\x9C\xE2\x94\x80 plus\n"
      "   \xE2\x94\x82  \xE2\x94\x94\xE2\x94\x80 repeat 2 \xC3\x97 generate m  temperature 0.1  "
      "max-tokens 5\n"
      "   \xE2\x94\x82     \xE2\x94\x94\xE2\x94\x80 user 'a: b'\n"
      "   \xE2\x94\x9C\xE2\x94\x80 seq\n"
      "   \xE2\x94\x94\xE2\x94\x80 print 'yes'");
}

BOOST_AUTO_TEST_CASE(numbers_keep_their_32_bits_with_the_fewest_digits) {
  const auto printed = [](const char* digits) {
    return print_json(
        read_json(std::string("{\"g\":{\"temperature\":") + digits + ",\"input\":\"\"}}", {}));
  };
  const std::pair<const char*, const char*> cases[] = {{"0.10000000149011612", "0.1"},
                                                       {"0.0", "0"},
                                                       {"-0", "0"},
                                                       {"1e0", "1"},
                                                       {"0.30000001", "0.3"},
                                                       {"0.333333333333", "0.33333334"},
                                                       {"16777217", "16777216"},
                                                       {"1E-7", "1e-07"}};
  for (const auto& [digits, expected] : cases)
    BOOST_TEST(printed(digits) ==
               std::string("{\"g\":{\"temperature\":") + expected + ",\"input\":{\"user\":\"\"}}}");
}

std::string file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

BOOST_AUTO_TEST_CASE(reads_the_queries_of_the_specification) {
  const std::string folder = std::string(SPNL_SHARED_DIR) + "/spec/queries/";
  if (file_text(folder + "judge.spnl").empty()) {
    BOOST_TEST_MESSAGE("left out: " << folder << " is absent");
    return;
  }
  ReadOptions options;
  options.bindings = {{"model", std::string("m/x")}};
  const auto read = [&](const std::string& name) {
    return read_query(file_text(folder + name), spelling_of(name), options);
  };
  const Query judge = read("judge.spnl");
  for (const char* name : {"chunks.spnl", "fragments.spnl", "judge.json", "judge.yaml", "loop.spnl",
                           "map.spnl", "warm.yaml", "zip.json"}) {
    BOOST_TEST_CONTEXT(name) {
      const Query query = read(name);
      for (const Way& way : kWays) BOOST_TEST((read_back(way, query) == query));
      if (std::string(name).starts_with("judge")) BOOST_TEST((query == judge));
    }
  }
}

}  // namespace
