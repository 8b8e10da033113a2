#include <algorithm>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "host_process.h"

using namespace spnl::host_test;
namespace data = boost::unit_test::data;
using Words = std::vector<std::string>;

namespace {

const char* const kCommands[] = {"run",   "explain", "chat", "generate", "tokenize", "template",
                                 "score", "bench",   "list", "backends", "doctor"};

struct WrongUse {
  Words words;
  const char* said;  ///< must be part of the error
};

std::ostream& operator<<(std::ostream& out, const WrongUse& use) {
  for (const std::string& word : use.words) out << word << ' ';
  return out;
}

const std::vector<WrongUse> kWrongUses = {
    {{"generat"}, "did you mean 'generate'?"},
    {{"frobnicate"}, "unknown command 'frobnicate'"},
    {{""}, "the command is empty"},
    {{"chat"}, "no model"},
    {{"chat", "-m", "x", "hello"}, "unexpected argument"},
    {{"pull"}, "later version"},
    {{"generate", "--modle", "x"}, "did you mean '--model'?"},
    {{"-Z"}, "unknown option '-Z'"},
    {{"tokenize", "--temperature", "1"}, "does not apply to 'tokenize'"},
    {{"generate", "-m"}, "--model"},
    {{"generate", "-m", "", "hi"}, "the model's name is empty"},
    {{"generate", "-m", "x", "-m", "y", "hi"}, "given twice"},
    {{"generate", "-m", "x"}, "no prompt"},
    {{"generate", "hi"}, "no model"},
    {{"generate", "-m", "x", "a", "b"}, "unexpected argument 'b'"},
    {{"generate", "-m", "x", "\xff"}, "not UTF-8"},
    {{"generate", "-m", "x", "--temperature", "-1", "hi"}, "--temperature"},
    {{"generate", "-m", "x", "--temperature", "nan", "hi"}, "--temperature"},
    {{"generate", "-m", "x", "--temperature", "inf", "hi"}, "--temperature"},
    {{"generate", "-m", "x", "--temperature", "0.5x", "hi"}, "--temperature"},
    {{"generate", "-m", "x", "--temperature", "", "hi"}, "--temperature"},
    {{"generate", "-m", "x", "--max-tokens", "-1", "hi"}, "--max-tokens"},
    {{"generate", "-m", "x", "--max-tokens", "99999999999", "hi"}, "--max-tokens"},
    {{"generate", "-m", "x", "--seed", "18446744073709551616", "hi"}, "--seed"},
    {{"generate", "-m", "x", "--top-p", "1.5", "hi"}, "--top-p"},
    {{"generate", "-m", "x", "--top-k", "-1", "hi"}, "--top-k"},
    {{"generate", "-m", "x", "--repeat-penalty", "0", "hi"}, "--repeat-penalty"},
    {{"generate", "-m", "x", "--stop", "", "hi"}, "--stop"},
    {{"generate", "-m", "x", "--threads", "0", "hi"}, "--threads"},
    {{"generate", "-m", "x", "--device", "gpu", "hi"}, "--device"},
    {{"generate", "-m", "x", "--speculate", "maybe", "hi"}, "--speculate"},
    {{"generate", "-m", "x", "--color", "pink", "hi"}, "--color"},
    {{"generate", "-m", "x", "--json=1", "hi"}, "--json"},
    {{"generate", "-m", "x", "--prompt-ids", "1,,2"}, "not a token id"},
    {{"generate", "-m", "x", "--prompt-ids", "1,2", "hi"}, "--prompt-ids"},
    {{"generate", "-m", "x", "--prompt-ids", "99999999999"}, "not a token id"},
    {{"generate", "-m", "x", "--raw", "--system", "s", "hi"}, "--system"},
    {{"run"}, "no query"},
    {{"run", "-c", "\"a\"", "-f", "b.spnl"}, "more than one query"},
    {{"run", "-f", "/nonexistent/q.spnl"}, "No such file"},
    {{"run", "-f", "/"}, "directory"},
    {{"run", "-b", "chta", "-m", "x"}, "did you mean 'chat'?"},
    {{"run", "-b", "", "-m", "x"}, "no builtin query ''"},
    {{"run", "-b", "chat"}, "--model"},
    {{"run", "-c", "\"a\"", "-b", "chat"}, "more than one query"},
    {{"run", "-c", "\"a\"", "--to", "json"}, "--show-query"},
    {{"run", "-s", "-c", "\"a\"", "--to", "xml"}, "'xml'"},
    {{"run", "-s", "-c", "\"a\"", "--to", "yaml", "--json"}, "contradict"},
    {{"run", "-s", "--dry-run", "-c", "\"a\""}, "--dry-run"},
    {{"run", "-s", "--time", "-c", "\"a\""}, "--time"},
    {{"run", "-q", "-v", "-c", "\"a\""}, "contradict"},
    {{"run", "-c", "\"a\"", "-n", "0"}, "--n"},
    {{"run", "-c", "\"a\"", "-k", "0"}, "--chunk-size"},
    {{"run", "-c", "\"a\"", "-x", "none"}, "--max-aug"},
    {{"run", "-c", "\"a\"", "-i", "magic"}, "--indexer"},
    {{"run", "-c", "\"a\"", "-d", "/nonexistent.txt"}, "--document"},
    {{"run", "-c", "\"a\"", "-d", "/"}, "directory"},
    {{"run", "-c", "(g \"\" \"a\")"}, "-c:1:4"},
    {{"run", "-c", "(g model \"a\")"}, "--model"},
    {{"explain"}, "no query"},
    {{"explain", "--time", "-c", "\"a\""}, "--time"},
    {{"run", "-b", "rag", "-m", "x"}, "--embedding-model"},
    {{"run", "-b", "rag", "-m", "x", "-e", "y"}, "--document"},
    {{"explain", "--stage", "think", "-c", "\"a\""}, "--stage"},
    {{"list", "extra"}, "unexpected argument"},
    {{"run", "-c", "\"a\"", "--set", "novalue"}, "--set"},
    {{"run", "-c", "\"a\"", "--timeout", "0"}, "--timeout"},
    {{"-c", "(user \"hi\""}, "-c:1:1"},
    {{"-c", "(usr \"hi\")"}, "-c:1:2"},
    {{"tokenize", "-m", "x"}, "--text"},
    {{"tokenize", "-m", "x", "--text", "a", "--file", "b"}, "--text"},
    {{"template", "--input", "/dev/null"}, "--template"},
    {{"template", "--template", "x"}, "--input"},
    {{"template", "--template", "x", "--input", "/dev/null"}, "bad JSON"},
    {{"score", "-m", "x"}, "--ids"},
    {{"score", "-m", "x", "--ids", "a"}, "not a token id"},
    {{"bench", "-m", "x", "--sequences", "0"}, "--sequences"},
    {{"backends", "extra"}, "unexpected argument"},
};

size_t lines(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

BOOST_DATA_TEST_CASE(wrong_use_exits_2_with_one_line, data::make(kWrongUses), use) {
  HostResult result = run_host(use.words);
  BOOST_TEST(result.exit_code == 2);
  BOOST_TEST(result.output == "");
  BOOST_TEST(result.errors.rfind("spnl-host: error: ", 0) == 0u, result.errors);
  BOOST_TEST(lines(result.errors) == 1u, result.errors);
  BOOST_TEST(contains(result.errors, use.said), result.errors);
}

BOOST_AUTO_TEST_CASE(no_words_show_the_help_as_a_mistake) {
  HostResult result = run_host({});
  BOOST_TEST(result.exit_code == 2);
  BOOST_TEST(result.output == "");
  BOOST_TEST(contains(result.errors, "usage: spnl-host"));
}

BOOST_AUTO_TEST_CASE(every_command_has_help_and_a_version) {
  HostResult program = run_host({"--help"});
  BOOST_TEST(program.exit_code == 0);
  BOOST_TEST(contains(program.output, "exit codes"));
  for (const char* command : kCommands) {
    BOOST_TEST(contains(program.output, std::string("\n  ") + command + " "), command);
    HostResult help = run_host({command, "--help"});
    BOOST_TEST(help.exit_code == 0);
    BOOST_TEST(contains(help.output, std::string("usage: spnl-host ") + command));
    BOOST_TEST(help.errors == "");
    BOOST_TEST(run_host({"help", command}).output == help.output);
    BOOST_TEST(run_host({command, "--version"}).output == run_host({"--version"}).output);
  }
  BOOST_TEST(run_host({"--version"}).output.rfind("spnl-host ", 0) == 0u);
}

BOOST_AUTO_TEST_CASE(help_answers_whatever_else_is_there) {
  BOOST_TEST(run_host({"generate", "a", "b", "--help"}).exit_code == 0);
}

BOOST_AUTO_TEST_CASE(unknown_prefix_exits_3_and_says_where_it_looked) {
  HostResult result = run_fake({"generate", "-m", "nosuch//tmp/x.gguf", "hi"});
  BOOST_TEST(result.exit_code == 3);
  BOOST_TEST(lines(result.errors) == 1u, result.errors);
  BOOST_TEST(contains(result.errors, "fake"), result.errors);
}

BOOST_AUTO_TEST_CASE(missing_model_exits_3) {
  HostResult result = run_fake({"generate", "-m", "fake/nothing", "hi"});
  BOOST_TEST(result.exit_code == 3);
  BOOST_TEST(contains(result.errors, "no fake model nothing"), result.errors);
  BOOST_TEST(lines(result.errors) == 1u, result.errors);
}
