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
  options.bindings = {{"model", std::string("m/x")},
                      {"n", 3.0},
                      {"prompt", std::string("Hi")},
                      {"xs", std::string("[\"p\", \"q\"]")},
                      {"documents", std::vector<Document>{{"d", "text"}}}};
  return options;
}

Query read(const std::string& text) { return read_lisp(text, options()); }

/// The query as Lisp on one line.
std::string shown(const std::string& text) {
  std::string out;
  for (char c : print_lisp(read(text))) {
    if (c == '\n') c = ' ';
    if (c != ' ' || out.empty() || out.back() != ' ') out += c;
  }
  return out;
}

struct Case {
  const char *text, *expected;
};

BOOST_AUTO_TEST_CASE(reads_every_form) {
  const Case cases[] = {
      {"\"hi\"", "(user \"hi\")"},
      {"prompt", "(user \"Hi\")"},
      {"(user \"a\\n\\t\\\\\\\"\\u{e9}\\0\")", "(user \"a\\n\\t\\\\\\\"\xC3\xA9\\u{0}\")"},
      {"(user r\"a\\nb\")", "(user \"a\\\\nb\")"},
      {"(user r#\"say \"x\"\"#)", "(user \"say \\\"x\\\"\")"},
      {"(user \"two\nlines\")", "(user \"two\\nlines\")"},
      {"; c\n#| a #| b |# |# (system \"s\") ; end", "(system \"s\")"},
      {"(seq \"a\" (assistant \"b\"))", "(seq (user \"a\") (assistant \"b\"))"},
      {"(seq)", "(seq)"},
      {"(plus (list \"a\" \"b\"))", "(plus (user \"a\") (user \"b\"))"},
      {"(cross (par \"a\") \"b\")", "(cross (par (user \"a\")) (user \"b\"))"},
      {"(zip \"a\" (par \"b\"))", "(zip (user \"a\") (par (user \"b\")))"},
      {"(monad (print \"x\"))", "(monad (print \"x\"))"},
      {"(ask \"who?\")", "(ask \"who?\")"},
      {"(read \"who?\")", "(ask \"who?\")"},
      {"(fetch \"a.txt\")", "(fetch \"a.txt\")"},
      {"(user (fetch \"a.txt\"))", "(fetch \"a.txt\")"},
      {"(seq (fetchn \"a\") (fetchb \"b\"))", "(seq (fetchn \"a\") (fetchb \"b\"))"},
      {"(g model \"q\")", "(generate (model \"m/x\") (temperature 0) (input (user \"q\")))"},
      {"(g model \"q\" 0.5)", "(generate (model \"m/x\") (temperature 0.5) (input (user \"q\")))"},
      {"(g model \"q\" 0.5 7)",
       "(generate (model \"m/x\") (max-tokens 7) (temperature 0.5) (input (user \"q\")))"},
      {"(g model \"q\" 1000 0.3)",
       "(generate (model \"m/x\") (max-tokens 1000) (temperature 0.3) (input (user \"q\")))"},
      {"(g model \"q\" 2 1)",
       "(generate (model \"m/x\") (max-tokens 1) (temperature 2) (input (user \"q\")))"},
      {"(generate (input \"q\"))", "(generate (input (user \"q\")))"},
      {"(g (input \"a\" \"b\") (model \"z\"))",
       "(generate (model \"z\") (input (seq (user \"a\") (user \"b\"))))"},
      {"(generate (model model) (max-tokens 5) (temperature 1e-1) (seed 18446744073709551615) "
       "(top-p 0.9) (top-k 4) "
       "(min-p 0.05) (repeat-penalty 1.1) (stop \"x\" \"y\") (spans \"blend:16\") (input \"q\"))",
       "(generate (model \"m/x\") (max-tokens 5) (temperature 0.1) (seed 18446744073709551615) "
       "(top-k 4) (top-p 0.9) "
       "(min-p 0.05) (repeat-penalty 1.1) (stop \"x\" \"y\") (spans \"blend:16\") (input (user "
       "\"q\")))"},
      {"(repeat n model \"q\" 0.8 40)",
       "(repeat 3 (generate (model \"m/x\") (max-tokens 40) (temperature 0.8) (input (user "
       "\"q\"))))"},
      {"(repeat (n 2) (g model \"q\"))",
       "(repeat 2 (generate (model \"m/x\") (temperature 0) (input (user \"q\"))))"},
      {"(repeat 2 \"q\")", "(plus (user \"q\") (user \"q\"))"},
      {"(map (model model) (inputs \"a\" \"b\") (max-tokens 2))",
       "(map (model \"m/x\") (max-tokens 2) (inputs \"a\" \"b\"))"},
      {"(map model (list \"a\") 0.5 9)",
       "(map (model \"m/x\") (max-tokens 9) (temperature 0.5) (inputs \"a\"))"},
      {"(let ((x \"a\") (y (list \"b\"))) (seq x y))", "(seq (user \"a\") (user \"b\"))"},
      {"(let () \"a\")", "(user \"a\")"},
      {"(seq (foreach i 1 2 (format \"{i} {} {:?} {{}}\" i \"q\")))",
       "(seq (user \"1 1 \\\"q\\\" {}\") (user \"2 2 \\\"q\\\" {}\"))"},
      {"(par (concat (list \"a\") \"b\" (prefix \"P\" (list \"c\"))))",
       "(par (user \"a\") (user \"b\") (user \"P1: \\\"c\\\"\"))"},
      {"(repeat (length (list \"a\" \"b\")) \"x\")", "(plus (user \"x\") (user \"x\"))"},
      {"(repeat 3 model \"q\" 1000 0.3)",
       "(repeat 3 (generate (model \"m/x\") (max-tokens 1000) (temperature 0.3) (input (user "
       "\"q\"))))"},
      {"(repeat (n 2) (user \"x\"))", "(plus (user \"x\") (user \"x\"))"},
      {"(map model xs)", "(map (model \"m/x\") (temperature 0) (inputs \"p\" \"q\"))"},
      {"(map (inputs xs \"[\\\"a\\\"]\"))", "(map (inputs \"p\" \"q\" \"[\\\"a\\\"]\"))"},
      {"(map (inputs (list)))", "(map (inputs (list)))"},
      {"(g model \"q\" 0.1000000000001)",
       "(generate (model \"m/x\") (temperature 0.1) (input (user \"q\")))"},
      {"(seq (take 2 \"[\\\"a\\\", \\\"b\\\", \\\"c\\\"]\"))", "(seq (user \"a\") (user \"b\"))"},
      {"(seq (take 2 \"a\\r\\n\\nb\\n\"))", "(seq (user \"a\") (user \"\"))"},
      {"(seq (take 9 (list \"a\")))", "(seq (user \"a\"))"},
      {"(plus (chunk 2 (list \"a\" \"b\" \"c\") (lambda (x) (seq x))))",
       "(plus (seq (user \"a\") (user \"b\")) (seq (user \"c\")))"},
      {"(plus (chunk 1 xs (lambda (x) \"left out\" (format \"{}\" (length x)))))",
       "(plus (user \"1\") (user \"1\"))"},
      {"(let ((f (lambda (x) (cross x)))) (let ((x \"b\")) (par x (chunk 1 xs f))))",
       "(par (user \"b\") (cross (user \"p\")) (cross (user \"q\")))"},
      {"(seq (foreach i 1 2 (list (format \"{i}\") \"x\")))",
       "(seq (user \"1\") (user \"x\") (user \"2\") (user \"x\"))"},
      {"(with \"e\" \"q\" (list (document \"n\" \"t\")) (fetchb \"p\"))",
       "(cross (plus (augment \"e\" (user \"q\") (document \"n\" \"t\")) (augment \"e\" (user "
       "\"q\") "
       "(document \"p\" (fetchb \"p\")))) (user \"Please answer this question:\") (user \"q\"))"},
      {"(with \"e\" \"q\" documents)",
       "(cross (plus (augment \"e\" (user \"q\") (document \"d\" \"text\"))) (user \"Please answer "
       "this "
       "question:\") (user \"q\"))"},
      {"(augment \"e\" (seq) (binary \"n\" \"00Ff\"))",
       "(augment \"e\" (seq) (binary \"n\" \"00ff\"))"},
  };
  for (const Case& one : cases) {
    BOOST_TEST_CONTEXT(one.text) {
      BOOST_TEST(shown(one.text) == one.expected);
      BOOST_TEST((read(print_lisp(read(one.text))) == read(one.text)));
    }
  }
}

BOOST_AUTO_TEST_CASE(asks_a_model_to_gather_answers) {
  for (const char* text :
       {"(extract model 2 (plus \"a\" \"b\"))", "(combine model (plus \"a\" \"b\"))"}) {
    const Query query = read(text);
    const auto& generate = std::get<Generate>(query.node);
    BOOST_TEST(generate.model == "m/x");
    BOOST_TEST(*generate.sampling.temperature == 0.0);
    const auto& parts = std::get<Cross>(generate.input->node).children;
    BOOST_TEST_REQUIRE(parts.size() == 3u);
    BOOST_TEST(std::holds_alternative<System>(parts[0].node));
    BOOST_TEST((parts[1] == read("(plus \"a\" \"b\")")));
    const std::string& task = std::get<User>(parts[2].node).text;
    const char* expected = text[1] == 'e' ? "2 final answers" : "JSON array";
    BOOST_TEST(task.find(expected) != std::string::npos, task);
  }
}

BOOST_AUTO_TEST_CASE(notes_the_swapped_numbers) {
  std::string note;
  ReadOptions with = options();
  with.on_note = [&](const std::string& text) { note = text; };
  read_lisp("(g model \"q\" 1000 0.3)", with);
  BOOST_TEST(note ==
             "q:1:14: read as max-tokens 1000 and temperature 0.3; temperature comes first");
}

BOOST_AUTO_TEST_CASE(keeps_places) {
  const Query query = read("(seq\n  \"\xC3\xA9\" (user \"b\"))");
  const auto& children = std::get<Seq>(query.node).children;
  BOOST_TEST(children[0].position.line == 2u);
  BOOST_TEST(children[0].position.column == 3u);
  BOOST_TEST(children[1].position.column == 7u);
}

BOOST_AUTO_TEST_CASE(says_where_and_what) {
  const Case cases[] = {
      {"", "found end of text, expected a query (q:1:1)"},
      {")", "found ')', expected a query (q:1:1)"},
      {"(seq (user \"a\"", "found '(' without its end, expected ')' (q:1:6)"},
      {"\n (user \"a", "found a string without end, expected '\"' (q:2:8)"},
      {"#| x", "found a comment without end, expected '|#' (q:1:1)"},
      {"\"a\" \"b\"",
       "found 'b', expected end of text (q:1:5); a file holds one form; (seq ...) puts several in "
       "order"},
      {"(user \"\\q\")", "found 'q' after '\\', expected one of n t r 0 \\ \" u{hex} (q:1:9)"},
      {"(user \"\\u{}\")", "found '}', expected a hexadecimal digit (q:1:11)"},
      {"(user \"\\u{d800}\")",
       "found the number of no character, expected a code point up to 10FFFF that is no surrogate "
       "(q:1:11)"},
      {"(g model \"q\" 1.x)", "found 'x', expected a digit after '.' (q:1:16)"},
      {"(g model \"q\" 1a)", "found 'a', expected the end of the number (q:1:15)"},
      {"(g model \"q\" 1e999)",
       "found number '1e999' out of range, expected a number that a double can hold (q:1:14)"},
      {"()", "found '()', expected a form with a name (q:1:1)"},
      {"(\"seq\")", "found string 'seq', expected the name of a form (q:1:2)"},
      {"(sqe \"a\")",
       "found unknown form 'sqe', expected a form of the language (q:1:2); did you mean 'seq'?"},
      {"(tak 3 \"a\")",
       "found unknown form 'tak', expected a form of the language (q:1:2); did you mean 'take'?"},
      {"(g modle \"q\")",
       "found unbound symbol 'modle', expected a bound one (q:1:4); did you mean 'model'?"},
      {"(seq user)",
       "found unbound symbol 'user', expected a bound one (q:1:6); forms are written in "
       "parentheses: (user ...)"},
      {"(generate (modle \"m\") (input \"q\"))",
       "found unknown option 'modle', expected an option of 'generate' (q:1:12); did you mean "
       "'model'?"},
      {"(g (modle \"m\") (input \"q\"))",
       "found unknown form 'modle', expected a form of the language (q:1:5); did you mean "
       "'model'?"},
      {"(generate (input \"q\") (seed 1)\n (seed 2))",
       "found option 'seed' a second time, expected each option once (q:2:2)"},
      {"(generate (model \"m\"))", "found a generate without input, expected (input ...) (q:1:1)"},
      {"(generate (input))", "found option 'input' without a value, expected a value (q:1:11)"},
      {"(generate (input \"q\") (temperature -1))",
       "found number -1, expected a temperature of at least 0 (q:1:36)"},
      {"(generate (input \"q\") (max-tokens 1.5))",
       "found number 1.5, expected a whole number of tokens, 0 for no limit (q:1:35)"},
      {"(generate (input \"q\") (top-p 2))",
       "found number 2, expected a number from 0 to 1 (q:1:30)"},
      {"(generate (input \"q\") (spans \"x\"))",
       "found string 'x', expected \"exact\", \"block\", \"blend\" or \"blend:K\" (q:1:30)"},
      {"(repeat 256 \"a\")", "found number 256, expected a whole number from 1 to 255 (q:1:9)"},
      {"(user 5)", "found number 5, expected a string (q:1:7)"},
      {"(seq 5)", "found number 5, expected a query (q:1:6); numbers are no messages; quote it"},
      {"(zip \"a\")", "found 1 argument, expected (zip FIRST SECOND) (q:1:1)"},
      {"(monad \"a\" \"b\")",
       "found string 'b', expected ')' (q:1:12); it is written (monad QUERY)"},
      {"(map model \"a\")", "found string 'a', expected a list (q:1:12)"},
      {"(format \"{}\")", "found more '{}' than values, expected 1 or more values (q:1:9)"},
      {"(seq (take 2 \"[1, []]\"))",
       "found a JSON array with 2 elements that are no strings, expected strings alone (q:1:14)"},
      {"(seq (take -1 \"a\"))", "found number -1, expected a whole number from 0 (q:1:12)"},
      {"(plus (chunk 0 xs (lambda (x) x)))",
       "found number 0, expected a whole number from 1 (q:1:14)"},
      {"(plus (chunk 2 xs (lambda (x y) x)))",
       "found 2 names, expected one name, for a list of at most 2 (q:1:27)"},
      {"(plus (chunk 2 xs \"f\"))", "found string 'f', expected (lambda (NAME) FORM...) (q:1:19)"},
      {"(plus (chunk 2 \"f\" (lambda (x) x)))", "found string 'f', expected a list (q:1:16)"},
      {"(chunk 2 xs)", "found 2 arguments, expected (chunk COUNT LIST FUNCTION) (q:1:1)"},
      {"(lambda (x) x)", "found a function, expected a query (q:1:1)"},
      {"(lambda (5) x)", "found number '5', expected a symbol (q:1:10)"},
      {"(lambda (x))", "found 1 argument, expected (lambda (NAME...) FORM...) (q:1:1)"},
      {"(with \"e\" \"q\" \"t\")",
       "found string 't', expected a document (q:1:15); (filen PATH) reads one"},
      {"(augment \"e\" \"q\" (binary \"n\" \"0\"))",
       "found an odd number of digits, expected two hexadecimal digits a byte (q:1:30)"},
      {"(augment \"e\" \"q\" (binary \"n\" \"0x\"))",
       "found a string of other characters, expected two hexadecimal digits a byte (q:1:30)"},
      {"(extract model 0 \"x\")", "found number 0, expected a whole number from 1 (q:1:16)"},
      {"(combine \"\" \"x\")", "found an empty string, expected a model's name (q:1:10)"},
      {"(format \"{modle}\")",
       "found unbound name 'modle' in a format, expected a bound one (q:1:9); did you mean "
       "'model'?"},
      {"(system (ask \"x\"))",
       "found a query, expected a string (q:1:9); what is asked or fetched is a user message"},
      {"(seq 'a')",
       "found unbound symbol ''a'', expected a bound one (q:1:6); strings stand between double "
       "quotes"},
      {"(seq (document \"a\" \"b\"))",
       "found a document, expected a query (q:1:6); (file PATH) gives the text alone"},
      {"(file \".\")", "file '.' cannot be read: it is a folder (q:1:7)"},
      {"(file \"/nowhere/x\")", "file '/nowhere/x' cannot be read: there is no such file (q:1:7)"},
      {"(user \"\xC3\xA9\xFF\")",
       "found byte 0xff, which is not UTF-8, expected UTF-8 text (q:1:9)"},
  };
  for (const Case& one : cases) {
    BOOST_TEST_CONTEXT(one.text) {
      try {
        read(one.text);
        BOOST_ERROR("was read");
      } catch (const Error& error) {
        BOOST_TEST(std::string(error.what()) == one.expected);
        BOOST_TEST((error.code() == ErrorCode::kBadQuery));
      }
    }
  }
}

std::string nested(const std::string& open, const std::string& inside, const std::string& close,
                   size_t depth) {
  std::string text;
  for (size_t i = 0; i < depth; ++i) text += open;
  text += inside;
  for (size_t i = 0; i < depth; ++i) text += close;
  return text;
}

BOOST_AUTO_TEST_CASE(nests_deeply_but_not_without_end) {
  const Query deep = read(nested("(cross ", "\"a\"", ")", 9'999));
  const Query copy = deep;
  BOOST_TEST((copy == deep));
  BOOST_TEST((read(print_lisp(deep)) == deep));
  const Query generates = read(nested("(generate (input ", "\"a\"", "))", 4'999));
  BOOST_TEST((read(print_lisp(generates)) == generates));
  BOOST_CHECK_THROW(read(nested("(seq ", "\"a\"", ")", 10'001)), Error);
  BOOST_CHECK_THROW(read(std::string(1'000'000, '(')), Error);
  BOOST_CHECK_THROW(read_lisp(std::string(100'000'001, ' '), options()), Error);
}

BOOST_AUTO_TEST_CASE(refuses_to_grow_without_end) {
  std::string text = "\"x\"", bombs = "(seq a a)";
  for (int i = 0; i < 60; ++i) bombs = "(let ((a (seq a a))) " + bombs + ")";
  BOOST_CHECK_THROW(read("(let ((a \"x\")) " + bombs + ")"), Error);
  const std::string large = "(document \"n\" \"" + std::string(1'000'000, 'x') + "\")";
  BOOST_CHECK_THROW(
      read("(let ((d " + large + ")) (seq (foreach i 0 1000 (augment \"e\" \"q\" d))))"), Error);
  BOOST_CHECK_THROW(
      read("(let ((d (augment \"e\" \"q\" " + large + "))) (seq (foreach i 0 1000 d)))"), Error);
  BOOST_CHECK_THROW(read("(seq (foreach i 0 1000000 (seq (foreach j 0 1000000 \"x\"))))"), Error);
}

BOOST_AUTO_TEST_CASE(reads_files_beside_the_query) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("spnl_lisp_test_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "a.txt") << "content";
  ReadOptions with = options();
  with.folder = folder.string();
  const Query query = read_lisp("(user (file \"a.txt\"))", with);
  BOOST_TEST(std::get<User>(query.node).text == "content");
  BOOST_TEST(std::get<Fetch>(read_lisp("(fetch \"a.txt\")", with).node).location ==
             (folder / "a.txt").string());
  BOOST_CHECK_THROW(read_lisp("(seq (filen \"a.txt\"))", with), Error);  // a document is no message
  BOOST_CHECK_THROW(read_lisp("(file \".\")", with), Error);
  std::filesystem::remove_all(folder);
}

BOOST_AUTO_TEST_CASE(survives_mutations) {
  const std::string seeds[] = {
      "(g model (seq (system \"You pick.\") (plus (repeat 4 model (user \"Write \\u{e9}\") 0.8 "
      "40)) (user \"Which?\")) 0.0 60)",
      "(generate (model \"m\") (max-tokens 5) (seed 1) (stop \"a\" \"b\") (input (cross (plus "
      "\"a\" \"b\") r#\"x\"#)))",
      "(let ((x (list \"a\" \"b\"))) (seq (foreach i 1 3 (format \"{i} {}\" i)) (prefix \"Q\" x) "
      "#| c |# (map model x 0.1 3)))",
  };
  std::mt19937 random(7);
  const std::string pieces[] = {"(",       ")", "\"", "\\",   "1e9", " ", "model",
                                "(input ", ";", "#|", "\xFF", "-",   "{", "n"};
  int read_count = 0;
  for (int i = 0; i < 10'000; ++i) {
    std::string text = seeds[i % 3];
    mutate(text, pieces, random);
    try {
      read(text);
      ++read_count;
    } catch (const Error& error) {
      BOOST_TEST((error.code() == ErrorCode::kBadQuery));
      BOOST_TEST(error.where().starts_with("q:"));
    }
  }
  BOOST_TEST(read_count > 100);
  BOOST_TEST(read_count < 9'900);
}

}  // namespace
