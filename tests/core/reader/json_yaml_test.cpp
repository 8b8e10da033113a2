#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "mutate.h"
#include "spnl/error.h"
#include "spnl/print.h"
#include "spnl/reader.h"

namespace {

using namespace spnl;
using spnl::test::mutate;

ReadOptions options() {
  ReadOptions options;
  options.source_name = "q";
  options.bindings = {{"model", std::string("m/x")}, {"n", 3.0}, {"prompt", std::string("Hi")}};
  return options;
}

struct Case {
  const char *text, *expected;
};

/// Reads each text and compares what it means, as compact JSON, or how it is refused.
void check(Spelling spelling, std::initializer_list<Case> cases,
           const ReadOptions& with = options()) {
  for (const Case& one : cases) {
    BOOST_TEST_CONTEXT(one.text) {
      std::string found;
      try {
        found = print_json(read_query(one.text, spelling, with));
      } catch (const Error& error) {
        BOOST_TEST((error.code() == ErrorCode::kBadQuery));
        found = error.what();
      }
      BOOST_TEST(found == one.expected);
    }
  }
}

BOOST_AUTO_TEST_CASE(knows_spellings) {
  BOOST_TEST((spelling_of("a/b.json") == Spelling::kJson));
  BOOST_TEST((spelling_of("b.YAML") == Spelling::kYaml));
  BOOST_TEST((spelling_of("b.yml") == Spelling::kYaml));
  BOOST_TEST((spelling_of("json") == Spelling::kLisp));
  BOOST_TEST((guess_spelling("\xEF\xBB\xBF \n{") == Spelling::kJson));
  BOOST_TEST((guess_spelling("[") == Spelling::kJson));
  BOOST_TEST((guess_spelling("(seq)") == Spelling::kLisp));
  BOOST_TEST((guess_spelling("") == Spelling::kLisp));
}

BOOST_AUTO_TEST_CASE(reads_json) {
  check(
      Spelling::kJson,
      {
          {"\"hi\"", R"({"user":"hi"})"},
          {"[\"a\", {\"assistant\": \"b\"}, []]",
           R"({"seq":[{"user":"a"},{"assistant":"b"},{"seq":[]}]})"},
          {R"({"generate": {"input": "q"}})", R"({"g":{"input":{"user":"q"}}})"},
          {R"({"g": {"input": "q", "seed": 18446744073709551615, "model": null, "top_k": 1e2}})",
           R"({"g":{"seed":18446744073709551615,"top_k":100,"input":{"user":"q"}}})"},
          {R"({"g": {"stop": ["a"], "repeat_penalty": 1.1, "min_p": 0.05, "top_p": 0.9, "input": "q",
                 "spans": "blend:8", "temperature": 0, "max_tokens": 0, "model": "m"}})",
           R"({"g":{"model":"m","max_tokens":0,"temperature":0,"spans":"blend:8","top_p":0.9,)"
           R"("min_p":0.05,"stop":["a"],"repeat_penalty":1.1,"input":{"user":"q"}}})"},
          {R"({"repeat": {"g": {"input": ["a"]}, "n": 255}})",
           R"({"repeat":{"n":255,"g":{"input":{"seq":[{"user":"a"}]}}}})"},
          {R"({"map": {"metadata": {"model": "m"}, "inputs": []}})",
           R"({"map":{"metadata":{"model":"m"},"inputs":[]}})"},
          {R"({"zip": {"second": {"par": ["b"]}, "first": "a"}})",
           R"({"zip":{"first":{"user":"a"},"second":{"par":[{"user":"b"}]}}})"},
          {R"({"monad": {"print": "x"}})", R"({"monad":{"print":"x"}})"},
          {R"({"cross": [{"plus": []}, {"ask": "who?"}, {"fetch": "a"}, {"fetchn": "a"}, {"fetchb": "a"}]})",
           R"({"cross":[{"plus":[]},{"ask":"who?"},{"fetch":"a"},{"fetchn":"a"},{"fetchb":"a"}]})"},
          {R"({"augment": {"embedding_model": "e", "body": "b", "doc": ["n", {"Text": "t"}]}})",
           R"({"augment":{"embedding_model":"e","body":{"user":"b"},"doc":["n",{"Text":"t"}]}})"},
          {R"({"augment": {"embedding_model": "e", "body": "b", "doc": ["n", {"Binary": [0, 255]}]}})",
           R"({"augment":{"embedding_model":"e","body":{"user":"b"},"doc":["n",{"Binary":[0,255]}]}})"},
          {R"({"augment": {"embedding_model": "e", "body": "b", "doc": {"fetchb": "p"}}})",
           R"({"augment":{"embedding_model":"e","body":{"user":"b"},"doc":["p",{"fetchb":"p"}]}})"},
          {R"("\u00e9\ud83d\ude00\/\u0000")", "{\"user\":\"\xC3\xA9\xF0\x9F\x98\x80/\\u0000\"}"},
      });
}

BOOST_AUTO_TEST_CASE(fills_templates) {
  check(
      Spelling::kJson,
      {
          {R"({"user": "{{ prompt }}, {{n}} times {{{n}}}"})",
           "found '{{' that begins no {{name}}, expected {{name}} (q:1:37); a brace that is meant "
           "is "
           "written \\u007b in JSON, \\x7b in YAML"},
          {R"({"user": "{{ prompt }}, {{n}} times { {{n}} }"})", R"({"user":"Hi, 3 times { 3 }"})"},
          {R"({"g": {"model": "{{model}}", "max_tokens": "{{n}}", "input": "q"}})",
           R"({"g":{"model":"m/x","max_tokens":3,"input":{"user":"q"}}})"},
          {R"("{\u007bn}}")", R"({"user":"{\u007bn}}"})"},
          {"{\n \"user\": \"a {{prmpt}}\"}",
           "found undefined name 'prmpt', expected a bound one (q:2:13); did you mean 'prompt'?"},
          {R"("{{zzz}}")",
           "found undefined name 'zzz', expected a bound one (q:1:2); bind it with --set "
           "NAME=VALUE"},
          {R"({"g": {"temperature": "{{prompt}}", "input": "q"}})",
           "found 'prompt' bound to string 'Hi', expected a temperature of at least 0 (q:1:23)"},
          {R"({"user": {{prompt}}})",
           "found '{', expected a key between double quotes (q:1:11); a template stands between "
           "quotes: "
           "\"{{name}}\""},
      });
  check(Spelling::kYaml,
        {{"user: \"{{n}} {{model}}\"", R"({"user":"3 m/x"})"},
         {"user: |-\n  {{n}}\n  b", R"({"user":"3\nb"})"},
         {"user: &a \"{\\x7bn}}\"", R"({"user":"{\u007bn}}"})"},
         {"repeat: {n: \"{{n}}\", g: {input: q}}",
          R"({"repeat":{"n":3,"g":{"input":{"user":"q"}}}})"},
         {"user: {{prompt}}",
          "found a map, expected a string (q:1:7); a template stands between quotes: "
          "\"{{name}}\""}});
  ReadOptions unbound;
  unbound.source_name = "q";
  check(Spelling::kJson,
        {{R"("{{model}}")",
          "found undefined name 'model', expected a bound one (q:1:2); give it with --model"}},
        unbound);
}

BOOST_AUTO_TEST_CASE(says_where_json_is_wrong) {
  check(
      Spelling::kJson,
      {
          {"", "found end of text, expected a query (q:1:1)"},
          {" \n", "found end of text, expected a query (q:1:1)"},
          {"{\"seq\": [\"a\"", "found '[' without its end, expected ']' (q:1:9)"},
          {"{\"seq\": ", "found '{' without its end, expected '}' (q:1:1)"},
          {"[\"\xC3\xA9\", \"abc", "found a string without end, expected '\"' (q:1:7)"},
          {"\"a\" \"b\"",
           "found '\"', expected end of text (q:1:5); a file holds one query; {\"seq\": [...]} "
           "puts several "
           "in order"},
          {"{\"user\" \"a\"}", "found '\"', expected ':' (q:1:9)"},
          {"[\"a\" \"b\"]", "found '\"', expected ',' or ']' (q:1:6)"},
          {"{\"user\": \"a\",}",
           "found '}', expected a key between double quotes (q:1:14); no comma before a closing "
           "bracket"},
          {"[\"a\", hello]",
           "found 'hello', expected a value (q:1:7); texts stand between double quotes"},
          {"// a\n\"b\"", "found '/', expected a query (q:1:1); JSON has no comments"},
          {"\"a\nb\"",
           "found '\\n', expected '\"' or an escape (q:1:3); a line break inside a text is written "
           "\\n"},
          {"\"\\q\"",
           "found '\\q' as an escape, expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX "
           "(q:1:2)"},
          {"\"\\ud800\"", "found half a surrogate pair, expected two \\u escapes (q:1:2)"},
          {"[1.]", "found ']', expected a digit (q:1:4)"},
          {"{\"g\": {\"temperature\": 1e999}}",
           "found number '1e999' out of range, expected a number that a double can hold (q:1:23)"},
          {"5", "found number 5, expected a query (q:1:1); between quotes it is a message"},
          {"null", "found null, expected a query (q:1:1)"},
          {"{}", "found a map, expected a key that names the node (q:1:1)"},
          {"{\"usr\": \"a\"}",
           "found unknown node 'usr', expected a node of the language (q:1:2); did you mean "
           "'user'?"},
          {"{\"model\": \"a\"}",
           "found unknown node 'model', expected a node of the language (q:1:2); keys of a "
           "generate stand "
           "inside \"g\""},
          {"{\"user\": \"a\", \"system\": \"b\"}",
           "found a second key 'system', expected one key, which names the node (q:1:15); seq puts "
           "several "
           "in order"},
          {"{\"user\": \"a\", \"user\": \"b\"}",
           "found key 'user' a second time, expected one key, which names the node (q:1:15); seq "
           "puts "
           "several in order"},
          {"{\"user\": 5}",
           "found number 5, expected a string (q:1:10); between quotes it is a string"},
          {"{\"user\": [\"a\"]}", "found a list, expected a string (q:1:10)"},
          {"{\"seq\": \"a\"}", "found string 'a', expected a list of queries (q:1:9)"},
          {"{\"g\": {}}", "found generate without 'input', expected the key 'input' (q:1:7)"},
          {"{\"g\": \"q\"}", "found string 'q', expected a map with the keys of generate (q:1:7)"},
          {"{\"g\": {\"input\": \"q\", \"max-tokens\": 5}}",
           "found unknown key 'max-tokens', expected a key of generate (q:1:22); did you mean "
           "'max_tokens'?"},
          {"{\"g\": {\"input\": \"q\",\n\"input\": \"q\"}}",
           "found key 'input' a second time, expected each key once (q:2:1)"},
          {"{\"g\": {\"input\": \"q\", \"max_tokens\": -1}}",
           "found number -1, expected a whole number of tokens, 0 for no limit (q:1:36)"},
          {"{\"g\": {\"input\": \"q\", \"max_tokens\": 4294967296}}",
           "found number 4294967296, expected a whole number of tokens, 0 for no limit (q:1:36)"},
          {"{\"g\": {\"input\": \"q\", \"temperature\": \"0.5\"}}",
           "found string '0.5', expected a temperature of at least 0 (q:1:37); numbers are written "
           "without "
           "quotes"},
          {"{\"g\": {\"input\": \"q\", \"temperature\": 1e39}}",
           "found number 1e39, expected a temperature of at least 0 (q:1:37)"},
          {"{\"g\": {\"input\": \"q\", \"seed\": 18446744073709551616}}",
           "found number 18446744073709551616, expected a whole number from 0 to "
           "18446744073709551615 "
           "(q:1:30)"},
          {"{\"g\": {\"input\": \"q\", \"repeat_penalty\": 0}}",
           "found number 0, expected a number above 0 (q:1:40)"},
          {"{\"g\": {\"input\": \"q\", \"stop\": \"x\"}}",
           "found string 'x', expected a list of strings (q:1:30)"},
          {"{\"g\": {\"input\": \"q\", \"stop\": [\"\"]}}",
           "found an empty string, expected text to stop at (q:1:31)"},
          {"{\"g\": {\"input\": \"q\", \"spans\": \"x\"}}",
           "found string 'x', expected \"exact\", \"block\", \"blend\" or \"blend:K\" (q:1:31)"},
          {"{\"g\": {\"input\": \"q\", \"model\": \"\"}}",
           "found an empty string, expected a model's name (q:1:31)"},
          {"{\"repeat\": {\"n\": 256, \"g\": {\"input\": \"q\"}}}",
           "found number 256, expected a whole number from 1 to 255 (q:1:18)"},
          {"{\"repeat\": {\"n\": 2, \"g\": \"q\"}}",
           "found string 'q', expected a map that describes the generate (q:1:26)"},
          {"{\"map\": {\"metadata\": {\"input\": \"a\"}, \"inputs\": []}}",
           "found unknown key 'input', expected a key of metadata (q:1:23); keys are model, spans, "
           "stop, "
           "max_tokens, temperature, seed, top_k, top_p, min_p, repeat_penalty"},
          {"{\"map\": {\"metadata\": {}, \"inputs\": [5]}}",
           "found number 5, expected a string (q:1:37); between quotes it is a string"},
          {"{\"augment\": {\"embedding_model\": \"e\", \"body\": \"b\", \"doc\": [\"n\", "
           "{\"Binary\": [256]}]}}",
           "found number 256, expected a byte from 0 to 255 (q:1:76)"},
          {"\"\xFF\"", "found byte 0xff, which is not UTF-8, expected UTF-8 text (q:1:2)"},
          {"{\"file\": \"/nowhere\"}",
           "file '/nowhere' cannot be read: there is no such file (q:1:10)"},
          {"{\"file\": \"\"}", "found an empty string, expected a file's path (q:1:10)"},
          {"{\"file\": \"http://x/y\"}",
           "file 'http://x/y' cannot be read: it is an address (q:1:10); fetch reads addresses"},
      });
}

BOOST_AUTO_TEST_CASE(reads_yaml) {
  check(Spelling::kYaml,
        {
            {"user: hi", R"({"user":"hi"})"},
            {"hi", R"({"user":"hi"})"},
            {"- a\n- system: b\n- [c]\n",
             R"({"seq":[{"user":"a"},{"system":"b"},{"seq":[{"user":"c"}]}]})"},
            {"# c\n---\nuser: yes # no\n...\n", R"({"user":"yes"})"},
            {"user: |\n  a\n   b\n\n", R"({"user":"a\n b\n"})"},
            {"user: >-\n  a\n  b\n", R"({"user":"a b"})"},
            {"user: 'it''s'", R"({"user":"it's"})"},
            {"user: \"a\\n\\u00e9\\x41\"",
             "{\"user\":\"a\\n\xC3\xA9"
             "A\"}"},
            {"g: {input: {user: \"Who? What?\"}, temperature: 0.5}",
             R"({"g":{"temperature":0.5,"input":{"user":"Who? What?"}}})"},
            {"[{user: Who? What?}, b?]", R"({"seq":[{"user":"Who? What?"},{"user":"b?"}]})"},
            {"{user: \"\\x1f?\"}", R"({"user":"\u001f?"})"},
            {"g:\n  input: q\n  max_tokens: +5\n  temperature: .5\n  top_k: ~\n",
             R"({"g":{"max_tokens":5,"temperature":0.5,"input":{"user":"q"}}})"},
            {"seq: [&x {user: a}, *x, &y b, *y]",
             R"({"seq":[{"user":"a"},{"user":"a"},{"user":"b"},{"user":"b"}]})"},
            {"seq:\r\n- user: a\r\n- |\r\n  b\r\n", R"({"seq":[{"user":"a"},{"user":"b\n"}]})"},
            {"\xEF\xBB\xBFuser: a", R"({"user":"a"})"},
        });
}

BOOST_AUTO_TEST_CASE(says_where_yaml_is_wrong) {
  check(
      Spelling::kYaml,
      {
          {"", "found end of text, expected a query (q:1:1)"},
          {"# only a comment", "found end of text, expected a query (q:1:1)"},
          {"user:\n", "found null, expected a string (q:1:1)"},
          {"user: 5", "found number 5, expected a string (q:1:7); between quotes it is a string"},
          {"user: true", "found true, expected a string (q:1:7); between quotes it is a string"},
          {"- a\n- usr: b",
           "found unknown node 'usr', expected a node of the language (q:2:3); did you mean "
           "'user'?"},
          {"g:\n  input: \xC3\xA9\n  modle: m",
           "found unknown key 'modle', expected a key of generate (q:3:3); did you mean 'model'?"},
          {"g: {input: q, input: q}",
           "found key 'input' a second time, expected each key once (q:1:15)"},
          {"[1, 2]: a", "found a list, expected a key that names the node (q:1:1)"},
          {"user: !!str a", "found tag '!!str', expected a value without a tag (q:1:7)"},
          {"seq: !x [a]", "found tag '!x', expected a value without a tag (q:1:6)"},
          {"seq: &a [*a]",
           "found an alias of what it stands in, expected an alias of something complete (q:1:10)"},
          {"seq: [*b]",
           "found '*', expected the name of an anchor (q:1:7); anchors stand before their aliases"},
          {"user: a\n---\nuser: b",
           "found a second document, expected end of text (q:2:1); a file holds one query; seq "
           "puts several "
           "in order"},
          {"user: \"abc", "found a string without end, expected '\"' (q:1:7)"},
          {"seq: [a, b\n", "found '[' without its end, expected ']' (q:1:6)"},
          {"user: a: b",
           "found ':', expected the end of the line (q:1:8); a text with ': ' in it stands between "
           "quotes"},
          {"seq:\n  - a\n - b",
           "found '-', expected a key below the others, or the end (q:3:2); entries of a map begin "
           "in one "
           "column"},
          {"user: @a",
           "found '@', expected a value (q:1:7); a text that begins with this character stands "
           "between "
           "quotes"},
          {"user: a\x04",
           "found control character '\\u0004', expected text (q:1:8); between double quotes it is "
           "written "
           "as an escape"},
          {"user: \"\xC3\xA9\xE2\x82\"",
           "found byte 0xe2, which is not UTF-8, expected UTF-8 text (q:1:9)"},
      });
}

/// What the text is refused with.
std::string refusal(const std::string& text, Spelling spelling,
                    const ReadOptions& with = options()) {
  try {
    read_query(text, spelling, with);
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

std::string repeated(const std::string& text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

BOOST_AUTO_TEST_CASE(keeps_limits) {
  const std::string deep = repeated("[", 9'999) + "\"a\"" + repeated("]", 9'999);
  BOOST_TEST(refusal(deep, Spelling::kJson) == "");
  BOOST_TEST(refusal("[[" + deep + "]]", Spelling::kJson) ==
             "queries are nested deeper than 10,000 (q:1:10001)");
  for (const char* open : {"[", "{\"seq\":[", "{\"g\":{\"input\":"})
    BOOST_TEST(refusal(repeated(open, 300'000), Spelling::kJson)
                   .starts_with("the query is nested deeper than 10,000 (q:1:"));
  for (const char* open : {"[", "{", "- ", "? ", "{a: "})
    BOOST_TEST(refusal(repeated(open, 20'000), Spelling::kYaml)
                   .starts_with("YAML is nested deeper than 500 levels (q:1:"));
  std::string laughs = "seq:\n- &a0 [x]\n";
  for (int i = 1; i < 12; ++i)
    laughs += "- &a" + std::to_string(i) + " [" + repeated("*a" + std::to_string(i - 1) + ", ", 9) +
              "]\n";
  BOOST_TEST(
      refusal(laughs, Spelling::kYaml).starts_with("aliases stand for more than 1,000,000 values"));
  const std::string large =
      "seq:\n- &a \"" + std::string(1'000'000, 'x') + "\"\n" + repeated("- *a\n", 600);
  BOOST_TEST(refusal(large, Spelling::kYaml).starts_with("the query grows beyond 512 MiB"));
  const std::string huge(100'000'001, ' ');
  for (const Spelling spelling : {Spelling::kLisp, Spelling::kJson, Spelling::kYaml}) {
    BOOST_TEST(refusal(huge, spelling) ==
               "the query has 100000001 bytes, more than 100 MB (q:1:1)");
    BOOST_TEST(
        refusal(std::string("\"a\0\"", 4), spelling) ==
        "found a zero byte, expected text (q:1:3); inside a string it is written as an escape");
  }
}

BOOST_AUTO_TEST_CASE(reads_files) {
  namespace fs = std::filesystem;
  const fs::path folder =
      fs::temp_directory_path() / ("spnl_json_test_" + std::to_string(::getpid()));
  fs::create_directories(folder / "inner");
  std::ofstream(folder / "a.txt") << "content {{n}}";
  std::ofstream(folder / "list.json") << "[\"one\", \"two\"]";
  std::ofstream(folder / "mixed.json") << "[\"one\", 2, []]";
  std::ofstream(folder / "bad.txt") << "a\n\xC3\xA9\xFF";
  fs::create_symlink("loop", folder / "loop");
  fs::create_symlink("there", folder / "here");
  fs::create_symlink("here", folder / "there");
  ReadOptions with = options();
  with.folder = folder.string();
  check(
      Spelling::kJson,
      {
          {R"({"file": "a.txt"})", R"({"user":"content {\u007bn}}"})"},
          {R"({"system": {"file": "a.txt"}})", R"({"system":"content {\u007bn}}"})"},
          {R"({"map": {"metadata": {}, "inputs": ["x", {"file": "list.json"}, {"file": "a.txt"}]}})",
           R"({"map":{"metadata":{},"inputs":["x","one","two","content {\u007bn}}"]}})"},
          {R"({"map": {"metadata": {}, "inputs": {"file": "list.json"}}})",
           R"({"map":{"metadata":{},"inputs":["one","two"]}})"},
          {R"({"map": {"metadata": {}, "inputs": {"file": "mixed.json"}}})",
           "found a JSON array with 2 elements that are no strings, expected strings alone "
           "(q:1:36)"},
          {R"({"augment": {"embedding_model": "e", "body": "b", "doc": {"filen": "a.txt"}}})",
           R"({"augment":{"embedding_model":"e","body":{"user":"b"},"doc":["a.txt",{"Text":)"
           R"("content {\u007bn}}"}]}})"},
          {R"({"file": "inner"})", "file 'inner' cannot be read: it is a folder (q:1:10)"},
          {R"({"file": "loop"})",
           "file 'loop' cannot be read: its links lead in a circle (q:1:10)"},
          {R"({"file": "here"})",
           "file 'here' cannot be read: its links lead in a circle (q:1:10)"},
          {R"({"file": "bad.txt"})",
           "file 'bad.txt' cannot be read: it is not UTF-8 at line 2, column 2 (q:1:10)"},
          {R"({"file": "/dev/zero"})",
           "file '/dev/zero' cannot be read: it is no regular file (q:1:10)"},
          {R"({"file": "a\u0000b"})",
           "found a string with a zero byte, expected a file's path (q:1:10)"},
      },
      with);
  BOOST_TEST(std::get<Fetch>(read_json(R"({"fetch": "a.txt"})", with).node).location ==
             (folder / "a.txt").string());
  fs::remove_all(folder);
}

BOOST_AUTO_TEST_CASE(aliases_keep_the_place_of_what_they_stand_for) {
  const Query query = read_yaml("- &a {user: x}\n- b\n- *a", options());
  const QueryList& children = std::get<Seq>(query.node).children;
  BOOST_TEST(children[1].position.line == 2u);
  BOOST_TEST(children[1].position.column == 3u);
  BOOST_TEST(children[2].position.line == 1u);
}

void survive_mutations(Spelling spelling, const std::vector<std::string>& seeds,
                       const std::vector<std::string>& pieces) {
  std::mt19937 random(11);
  int read_count = 0;
  for (int i = 0; i < 10'000; ++i) {
    std::string text = seeds[i % seeds.size()];
    mutate(text, pieces, random);
    BOOST_TEST_CONTEXT(text) {
      try {
        const Query query = read_query(text, spelling, options());
        BOOST_TEST((read_query(print_yaml(query), Spelling::kYaml, {}) == query));
        ++read_count;
      } catch (const Error& error) {
        BOOST_TEST((error.code() == ErrorCode::kBadQuery));
        unsigned line = 0, column = 0;
        BOOST_TEST(std::sscanf(error.where().c_str(), "q:%u:%u", &line, &column) == 2);
        BOOST_TEST(line >= 1u);
        BOOST_TEST(line <= 2 + static_cast<unsigned>(std::count(text.begin(), text.end(), '\n')));
        BOOST_TEST(column >= 1u);
        BOOST_TEST(column <= text.size() + 1);
      }
    }
  }
  BOOST_TEST(read_count > 100);
  BOOST_TEST(read_count < 9'900);
}

BOOST_AUTO_TEST_CASE(reads_or_refuses_the_corpus_of_the_fuzzers) {
  const std::pair<const char*, Spelling> kFolders[] = {
      {"lisp", Spelling::kLisp}, {"json", Spelling::kJson}, {"yaml", Spelling::kYaml}};
  for (const auto& [name, spelling] : kFolders) {
    size_t files = 0;
    const std::string folder = std::string(SPNL_TEST_FIXTURES_DIR) + "/../fuzz/corpus/" + name;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string text{std::istreambuf_iterator<char>(file), {}};
      BOOST_TEST_CONTEXT(entry.path().string()) {
        const bool broken = entry.path().filename() == "broken";
        BOOST_TEST((!broken || !refusal(text, spelling).empty()));
        BOOST_TEST((broken || entry.path().filename() != "judge" || refusal(text, spelling) == ""));
      }
      ++files;
    }
    BOOST_TEST(files >= 6u);
  }
}

BOOST_AUTO_TEST_CASE(json_survives_mutations) {
  survive_mutations(
      Spelling::kJson,
      {R"({"g": {"model": "{{model}}", "max_tokens": 60, "temperature": 0, "input": {"seq": [{"system": "You \u00e9 pick."}, {"plus": [{"repeat": {"n": 4, "g": {"stop": ["a"], "input": {"user": "Write"}}}}]}, "Which?"]}}})",
       R"([{"map": {"metadata": {"seed": 1, "top_p": 0.5}, "inputs": ["a", "b"]}}, {"zip": {"first": "a", "second": {"par": []}}}, {"monad": {"cross": ["x"]}}])",
       R"({"augment": {"embedding_model": "e", "body": {"fetch": "a"}, "doc": ["n", {"Binary": [1, 2]}]}})"},
      {"{", "}", "[", "]", "\"", ",", ":", "\\", "\\u", "1e9", "null", "-", "{{n}}", "\xFF", "true",
       "\n"});
}

BOOST_AUTO_TEST_CASE(yaml_survives_mutations) {
  survive_mutations(
      Spelling::kYaml,
      {"g:\n  model: \"{{model}}\"\n  max_tokens: 60\n  input:\n    seq:\n      - system: You "
       "pick.\n      - plus:\n"
       "          - repeat:\n              n: 4\n              g: {temperature: 0.8, input: {user: "
       "Write? }}\n"
       "      - user: |\n          Which\n          one?\n",
       "- &a {user: x}\n- *a\n- 'quoted ''text'''\n- map:\n    metadata: {seed: 1}\n    inputs: "
       "[a, \"b\\n\"]\n",
       "augment:\n  embedding_model: e\n  body: >-\n    folded\n    text\n  doc: [n, {Binary: [1, "
       "2]}]\n# end\n"},
      {"{",  "}",    "[", "]",  "\"", "'",  ": ",    "- ", "\n",    "  ",   "#", "&b ",
       "*a", "!!x ", "|", "> ", "? ", "\t", "---\n", "%",  "{{n}}", "\xFF", "~"});
}

}  // namespace
