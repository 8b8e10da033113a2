// Queries from files, builtins and standard input: what runs, what is shown of them.
#include <boost/test/unit_test.hpp>

#include "json_of.h"
#include "temporary_file.h"

using namespace spnl::host_test;
using Words = std::vector<std::string>;

namespace {

constexpr const char* kLisp = R"((g "fake/echo" (seq (system "s") (user "hi")) 0.0 7))";
constexpr const char* kTwo = R"((plus (g "fake/echo" "a" 0.5) (g "fake/echo" "b" 0.5)))";

}  // namespace

BOOST_AUTO_TEST_CASE(each_spelling_runs_from_its_file) {
  const TemporaryFile lisp(".spnl", kLisp);
  for (const char* form : {"json", "yaml", "lisp"}) {
    const HostResult shown = run_host({"run", "-s", "-f", lisp.path(), "--to", form});
    BOOST_TEST(shown.exit_code == 0, shown.errors);
    const TemporaryFile file(form == std::string("lisp") ? ".spnl" : std::string(".") + form,
                             shown.output);
    BOOST_TEST(run_fake({"run", "-f", file.path()}).output == "you said: hi\n", shown.output);
    BOOST_TEST(run_host({"run", "-s", "-f", file.path()}).output ==
               run_host({"run", "-s", "-f", lisp.path()}).output);
  }
  BOOST_TEST(contains(run_host({"run", "-s", "-c", kLisp, "--to", "tree"}).output, "fake/echo"));
}

BOOST_AUTO_TEST_CASE(json_is_known_by_its_first_character) {
  HostOptions options;
  options.input = R"({"g": {"model": "{{model}}", "input": "from {{who}}"}})";
  const Words flags = {"run", "-m", "fake/echo", "--set", "who=json", "-"};
  BOOST_TEST(run_fake(flags, options).output == "you said: from json\n");
  const HostResult wrong = run_host({"run", "-c", R"({"usr": "hi"})"});
  BOOST_TEST(wrong.exit_code == 2);
  BOOST_TEST(contains(wrong.errors, "-c:1:2"), wrong.errors);
  BOOST_TEST(contains(wrong.errors, "did you mean 'user'"), wrong.errors);
}

BOOST_AUTO_TEST_CASE(run_json_tells_of_each_generation) {
  auto json = json_of(run_fake({"run", "--json", "-c", kTwo}));
  BOOST_TEST(json["text"].GetString() == std::string("you said: a\nyou said: b"));
  BOOST_TEST(json["result"]["plus"][0]["assistant"].GetString() == std::string("you said: a"));
  BOOST_REQUIRE(json["generations"].Size() == 2u);
  for (const auto& one : json["generations"].GetArray()) {
    BOOST_TEST(one["ids"].Size() == 3u);
    BOOST_TEST(one["finish_reason"].GetString() == std::string("eos"));
    BOOST_TEST(one["usage"]["prompt_tokens"].GetInt() == 1);
    BOOST_TEST(one["usage"]["completion_tokens"].GetInt() == 3);
    BOOST_TEST(one["model"].GetString() == std::string("fake/echo"));
    BOOST_TEST(one["times"]["ttft_s"].GetDouble() > 0);
  }
  BOOST_TEST(json["seconds"].GetDouble() >= 0);
}

BOOST_AUTO_TEST_CASE(keep_going_finishes_what_does_not_depend_on_a_failure) {
  const std::string query =
      R"((plus (g "fake/broken" "a") (g "fake/echo" (g "fake/broken" "b")) (g "fake/echo" "c")))";
  const HostResult stopped = run_fake({"run", "-c", query});
  BOOST_TEST(stopped.exit_code == 1);
  BOOST_TEST(stopped.output == "");
  const HostResult result = run_fake({"run", "--keep-going", "-c", query});
  BOOST_TEST(result.exit_code == 1);
  BOOST_TEST(result.output == "you said: c\n");
  BOOST_TEST(count(result.errors, "the fake model is broken") == 2u, result.errors);
  BOOST_TEST(contains(result.errors, "node 1.0"), result.errors);
  const HostResult whole = run_fake({"run", "--keep-going", "--json", "-c", query});
  BOOST_TEST(whole.exit_code == 1);
  rapidjson::Document json;
  json.Parse(whole.output.c_str());
  BOOST_REQUIRE(!json.HasParseError());
  BOOST_TEST(json["failures"].Size() == 2u);
}

BOOST_AUTO_TEST_CASE(times_have_a_line_a_sample_and_totals) {
  const HostResult result =
      run_fake({"run", "--time", "-c", R"((repeat 3 (g "fake/echo" "a" 0.5)))"});
  BOOST_TEST(result.exit_code == 0, result.errors);
  for (const char* row : {"root#0", "root#1", "root#2", "mean", "total: 3 generations"})
    BOOST_TEST(contains(result.errors, row), result.errors);
  BOOST_TEST(contains(result.errors, "9 out"), result.errors);
}

BOOST_AUTO_TEST_CASE(span_settings_by_query_flag_and_environment) {
  const auto answer = [](const std::string& of_query, Words flags, HostOptions options = {}) {
    Words words = {"run", "-m", "fake/spans", "-c",
                   "(generate " + of_query + " (input (plus \"a\" \"bc\")))"};
    words.insert(words.end(), flags.begin(), flags.end());
    const HostResult result = run_fake(words, options);
    return result.exit_code == 0 ? result.output : result.errors;
  };
  HostOptions set;
  set.environment = {{"SPNL_SPANS", "blend"},
                     {"SPNL_SPAN_CONTEXT", "none"},
                     {"SPNL_SPAN_ORDER", "canonical"},
                     {"SPNL_SPAN_CACHE", "/tmp/from-environment"},
                     {"SPNL_SPAN_CACHE_SIZE", "3G"}};
  BOOST_TEST(answer("", {}) == "0 0 0 0 - - - -\n");
  BOOST_TEST(answer("", {}, set) == "3 1 2 0 - - /tmp/from-environment 3G\n");
  const Words flags = {"--spans",           "block", "--span-context", "prefix",
                       "--span-order",      "given", "--span-cache",   "/tmp/from-flag",
                       "--kv-type",         "q8_0",  "--kv-memory",    "2G",
                       "--span-cache-size", "1G"};
  BOOST_TEST(answer("", flags, set) == "2 4 1 0 q8_0 2G /tmp/from-flag 1G\n");
  BOOST_TEST(answer("(spans \"blend:7\")", flags, set) == "3 4 1 7 q8_0 2G /tmp/from-flag 1G\n");
  set.environment = {{"SPNL_SPANS", "blok"}};
  BOOST_TEST(contains(answer("", {}, set), "'blok' is no way to evaluate spans (SPNL_SPANS)"));
  for (const Words& bad :
       {Words{"--spans", ""}, Words{"--spans", "blend:x"}, Words{"--span-context", "all"},
        Words{"--span-order", ""}, Words{"--kv-type", "f8"}, Words{"--span-cache", ""}}) {
    const std::string errors = answer("", bad);
    BOOST_TEST(contains(errors, "(" + bad[0] + "); "), errors);
  }
}

BOOST_AUTO_TEST_CASE(a_model_without_spans_runs_exactly_and_says_so) {
  const HostResult result =
      run_fake({"run", "--spans", "block", "-c", R"((g "fake/echo" (plus "a" "b")))"});
  BOOST_TEST(result.exit_code == 0);
  BOOST_TEST(result.output == "you said: b\n");
  BOOST_TEST(contains(result.errors, "does not cache spans: 'block' is run as 'exact'"),
             result.errors);
}

BOOST_AUTO_TEST_CASE(fragments_are_counted) {
  const std::string query = R"((g "fake/spans" (cross (system "s") (plus "first" "no 2") "q")))";
  const Words flags = {"run", "--spans", "block", "--span-context", "bos", "-c", query};
  Words timed = flags, told = flags;
  timed.insert(timed.end(), {"--time", "-v"});
  const std::string errors = run_fake(timed).errors;
  for (const char* part :
       {"computed", "eos  block/bos", "  fragment 1.0: 5 tokens, 5 cached, 0 computed: first",
        "  fragment 1.1: 4 tokens, 0 cached, 4 computed: no 2"})
    BOOST_TEST(contains(errors, part), errors);
  timed.pop_back();
  BOOST_TEST(!contains(run_fake(timed).errors, "fragment 1.0"));
  told.push_back("--json");
  const auto json = json_of(run_fake(told));
  const auto& usage = json["generations"][0]["usage"];
  BOOST_TEST(usage["span_mode"].GetString() == std::string("block"));
  BOOST_TEST(usage["span_context"].GetString() == std::string("bos"));
  BOOST_REQUIRE(usage["fragments"].Size() == 2u);
  BOOST_TEST(usage["fragments"][0]["fragment"].GetString() == std::string("1.0"));
  BOOST_TEST(usage["fragments"][0]["cached"].GetInt() == 5);
  BOOST_TEST(usage["fragments"][1]["tokens"].GetInt() == 4);
}

BOOST_AUTO_TEST_CASE(dry_run_asks_nobody) {
  const HostResult result = run_fake({"run", "--dry-run", "-c", kTwo, "-l", "9"});
  BOOST_TEST(result.exit_code == 0, result.errors);
  BOOST_TEST(count(result.output, "fake/echo") >= 2u, result.output);
  BOOST_TEST(!contains(result.output, "you said"), result.output);
  auto json = json_of(run_fake({"run", "--dry-run", "--json", "-c", kTwo}));
  BOOST_TEST(json["generates"].Size() == 2u);
  BOOST_TEST(json["batches"].Size() == 1u);
  // Not even the model has to be there.
  BOOST_TEST(run_host({"run", "--dry-run", "-c", R"((g "no/model" "a"))"}).exit_code == 0);
}

BOOST_AUTO_TEST_CASE(explain_shows_each_stage) {
  const std::string query = R"((seq (seq (user "a") (user "")) (user "b")))";
  const std::string read = run_host({"explain", "--stage", "read", "-c", query}).output;
  const std::string simple = run_host({"explain", "--stage", "simplify", "-c", query}).output;
  BOOST_TEST(count(read, "user") == 3u, read);
  BOOST_TEST(simple == "(seq (user \"a\") (user \"b\"))\n");
  const HostResult plan = run_fake({"explain", "-c", kTwo});
  BOOST_TEST(plan.exit_code == 0, plan.errors);
  BOOST_TEST(contains(plan.output, "; "), plan.output);
  BOOST_TEST(contains(plan.output, "batch"), plan.output);
  const TemporaryFile again(".spnl", plan.output);  // what is said beside the query is a comment
  BOOST_TEST(run_fake({"run", "-f", again.path()}).exit_code == 0);
  auto json = json_of(run_fake({"explain", "--json", "-c", kTwo}));
  BOOST_TEST(json["query"].IsObject());
  BOOST_TEST(json["generates"].Size() == 2u);
}

BOOST_AUTO_TEST_CASE(every_builtin_is_listed_and_runs) {
  const TemporaryFile document(".txt", "a document");
  auto json = json_of(run_host({"list", "--json"}));
  BOOST_REQUIRE(json["builtins"].Size() == 9u);
  const std::string list = run_host({"list"}).output;
  for (const auto& builtin : json["builtins"].GetArray()) {
    const std::string name = builtin["name"].GetString();
    BOOST_TEST(contains(list, "\n  " + name + " "), list);
    BOOST_TEST(builtin["summary"].GetStringLength() > 10u);
    Words words = {"run", "-b", name, "-m", "fake/echo", "-p", "Is it?", "-n", "2"};
    if (name == "rag") words.insert(words.end(), {"-e", "fake/echo", "-d", document.path()});
    const HostResult result = run_fake(words);
    BOOST_TEST(result.exit_code == (name == "rag" ? 1 : 0), name + ": " + result.errors);
    BOOST_TEST(contains(result.output, "you said: ") == (name != "rag"), name);
    words.push_back("-s");
    BOOST_TEST(run_fake(words).exit_code == 0);
  }
}

BOOST_AUTO_TEST_CASE(a_builtin_may_come_from_the_environment) {
  HostOptions options;
  options.environment = {{"SPNL_BUILTIN", "chat"}, {"SPNL_MODEL", "fake/echo"}};
  BOOST_TEST(run_fake({"run", "-p", "yes?"}, options).output == "you said: yes?\n");
  BOOST_TEST(run_fake({"run", "-c", "\"other\""}, options).output == "other\n");
}

BOOST_AUTO_TEST_CASE(retrieval_says_what_it_does_not_do_yet) {
  const TemporaryFile document(".txt", "a document");
  const HostResult result =
      run_fake({"run", "-b", "rag", "-m", "fake/echo", "-e", "e", "-d", document.path(), "-p", "x",
                "--shuffle", "-x", "3", "-i", "raptor", "--index-dir", "/tmp"});
  BOOST_TEST(result.exit_code == 1);
  BOOST_TEST(contains(result.errors, "no retrieval backend is installed"), result.errors);
  BOOST_TEST(contains(result.errors, "--shuffle"), result.errors);
  // Nothing to say where nothing retrieves.
  BOOST_TEST(run_fake({"run", "-c", kLisp, "--shuffle"}).errors == "");
  BOOST_TEST(run_host({"run", "-b", "rag", "-m", "x", "-p", "x"}).exit_code == 2);
}

BOOST_AUTO_TEST_CASE(reverse_turns_independent_parts_round) {
  const std::string query = R"((seq (user "x") (plus (user "a") (user "b"))))";
  BOOST_TEST(run_host({"run", "-r", "-c", query}).output == "x\nb\na\n");
}

BOOST_AUTO_TEST_CASE(questions_are_answered_by_prompt_or_refused) {
  const std::string query = R"((g "fake/echo" (ask "who?")))";
  BOOST_TEST(run_fake({"run", "-p", "me", "-c", query}).output == "you said: me\n");
  const HostResult result = run_fake({"run", "-c", query});
  BOOST_TEST(result.exit_code == 1);
  BOOST_TEST(contains(result.errors, "--prompt"), result.errors);
}

BOOST_AUTO_TEST_CASE(piped_chat_answers_line_by_line) {
  HostOptions options;
  options.input = "a\n\nb\\\nc\n\"\"\"\nd\n\"\"\"\n//e\n/exit\nnot read\n";
  const HostResult result = run_fake({"chat", "-m", "fake/echo"}, options);
  BOOST_TEST(result.exit_code == 0);
  BOOST_TEST(result.output == "you said: a\nyou said: b\nc\nyou said: d\nyou said: /e\n");
  BOOST_TEST(result.errors == "");
}

BOOST_AUTO_TEST_CASE(chat_keeps_its_history) {
  HostOptions options;
  options.input = "a\nb\n/system brief\nc\n/clear\nd";
  const HostResult result = run_fake({"chat", "-m", "fake/roles", "--time"}, options);
  BOOST_TEST(result.output == "u\nua*u\nsua*ua*u\nsu\n");
  BOOST_TEST(contains(result.errors, "answer 4"), result.errors);
}

BOOST_AUTO_TEST_CASE(chat_saves_what_run_and_chat_take_up) {
  const TemporaryFolder folder;
  const std::string file = folder.path() + "/talk.json";
  HostOptions options;
  options.input = "/system be {{brief}}\na\n/save " + file + "\n/stats\n";
  const HostResult first = run_fake({"chat", "-m", "fake/roles"}, options);
  BOOST_TEST(first.exit_code == 0, first.errors);
  BOOST_TEST(contains(first.errors, "fake on cpu, context 4096"), first.errors);
  BOOST_TEST(run_fake({"run", "-f", file}).output == "sua\n", content(file));
  options.input = "b\n/clear\n/load " + file + "\nc\n/system\n";
  const HostResult second = run_fake({"chat", "-m", "fake/roles", "--load", file}, options);
  BOOST_TEST(second.output == "suau\nsuau\n");
  BOOST_TEST(contains(second.errors, "be {{brief}}"), second.errors);
}

BOOST_AUTO_TEST_CASE(chat_goes_on_after_mistakes_and_fails_in_the_end) {
  const TemporaryFile query(".json", R"({"plus": ["a", "b"]})");
  HostOptions options;
  options.input =
      "/sav x\n/save\n/save /\n/save x.txt\n/save /dev/null/x.json\n/load /nope.json\n/load " +
      query.path() + "\n\xff\na\n";
  const HostResult result = run_fake({"chat", "-m", "fake/echo"}, options);
  BOOST_TEST(result.exit_code == 1);
  BOOST_TEST(result.output == "you said: a\n");
  for (const char* said :
       {"did you mean '/save'?", "needs a file's name", "is a directory", "ends in .json",
        "/dev/null/x.json", "/nope.json", "no conversation", "not UTF-8"})
    BOOST_TEST(contains(result.errors, said), result.errors);
  BOOST_TEST(count(result.errors, "spnl-host: error: ") == 8u, result.errors);
  BOOST_TEST(run_fake({"chat", "-m", "fake/nothing"}, options).exit_code == 3);
  options.input = "a\n";
  BOOST_TEST(run_fake({"chat", "-m", "fake/broken"}, options).exit_code == 1);
}

BOOST_AUTO_TEST_CASE(chat_as_json_is_a_line_an_answer) {
  HostOptions options;
  options.input = "a\n";
  auto json = json_of(run_fake({"chat", "-m", "fake/echo", "--json"}, options));
  BOOST_TEST(json["text"].GetString() == std::string("you said: a"));
  BOOST_TEST(json["finish_reason"].GetString() == std::string("eos"));
}
