#include <signal.h>

#include <boost/test/unit_test.hpp>

#include "host_process.h"

using namespace spnl::host_test;

namespace {

HostOptions with_environment(const std::string& name, const std::string& value) {
  HostOptions options;
  options.environment = {{name, value}};
  return options;
}

constexpr const char* kEchoQuery = R"((g "fake/echo" (user "hi")))";
constexpr const char* kSlowQuery = R"((g "fake/slow" (user "hi")))";

}  // namespace

BOOST_AUTO_TEST_CASE(piped_output_is_the_text_alone) {
  for (const char* no_stream : {"0", "1"}) {
    HostOptions options = with_environment("MISTRALRS_NO_STREAM", no_stream);
    HostResult query = run_fake({"run", "-c", kEchoQuery}, options);
    BOOST_TEST(query.exit_code == 0, query.errors);
    BOOST_TEST(query.output == "you said: hi\n");
    BOOST_TEST(query.errors == "");
    HostResult prompt = run_fake({"generate", "-m", "fake/echo", "hi"}, options);
    BOOST_TEST(prompt.output == "you said: hi\n");
    BOOST_TEST(prompt.errors == "");
  }
}

BOOST_AUTO_TEST_CASE(a_query_of_many_generations_prints_their_texts_by_line) {
  HostResult result =
      run_fake({"run", "-c", R"((seq (g "fake/echo" (user "a")) (g "fake/echo" (user "b"))))"});
  BOOST_TEST(result.exit_code == 0, result.errors);
  BOOST_TEST(result.output == "you said: a\nyou said: b\n");
}

BOOST_AUTO_TEST_CASE(colour_only_where_asked_for) {
  BOOST_TEST(run_fake({"generate", "-m", "fake/echo", "--color", "always", "hi"}).output ==
             "\x1b[32myou said: hi\x1b[0m\n");
  BOOST_TEST(run_fake({"generate", "-m", "fake/echo", "--color", "never", "hi"}).output ==
             "you said: hi\n");
}

BOOST_AUTO_TEST_CASE(model_text_is_passed_on_byte_for_byte_when_piped) {
  BOOST_TEST(run_fake({"generate", "-m", "fake/dirty", "hi"}).output == "a\x1b[31mb\n\n");
}

BOOST_AUTO_TEST_CASE(queries_from_standard_input) {
  HostOptions options;
  options.input = kEchoQuery;
  BOOST_TEST(run_fake({"run", "-"}, options).output == "you said: hi\n");
  BOOST_TEST(run_fake({"run", "-f", "-"}, options).output == "you said: hi\n");
  options.input = "from a pipe";
  BOOST_TEST(run_fake({"generate", "-m", "fake/echo", "-"}, options).output ==
             "you said: from a pipe\n");
}

BOOST_AUTO_TEST_CASE(bindings_reach_the_query) {
  BOOST_TEST(
      run_fake({"run", "-m", "fake/echo", "-p", "x", "-c", "(g model (user prompt))"}).output ==
      "you said: x\n");
  BOOST_TEST(run_fake({"run", "--set", "who=me", "-c", R"((g "fake/echo" (user who)))"}).output ==
             "you said: me\n");
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error) {
  HostOptions options;
  options.output_file = "/dev/full";
  for (const HostResult& result :
       {run_fake({"generate", "-m", "fake/echo", "hi"}, options), run_host({"--help"}, options),
        run_fake({"generate", "-m", "fake/slow", "hi"}, options)}) {
    BOOST_TEST(result.exit_code == 1);
    BOOST_TEST(contains(result.errors, "No space left"), result.errors);
  }
}

BOOST_AUTO_TEST_CASE(a_closed_standard_output_is_an_error) {
  HostOptions options;
  options.close_output = true;
  HostResult result = run_fake({"generate", "-m", "fake/echo", "hi"}, options);
  BOOST_TEST(result.exit_code == 1);
  BOOST_TEST(contains(result.errors, "cannot write the result"), result.errors);
}

BOOST_AUTO_TEST_CASE(a_reader_that_goes_away_ends_the_work_quietly) {
  HostOptions options;
  options.stop_reading_after_output = true;
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"generate", "-m", "fake/slow", "hi"}, {"run", "-c", kSlowQuery}}) {
    HostResult result = run_fake(words, options);
    BOOST_TEST(result.exit_code == 1);
    BOOST_TEST(result.errors == "");
  }
}

BOOST_AUTO_TEST_CASE(interrupt_ends_a_generation_with_its_partial_text) {
  HostOptions options;
  options.signal_after_output = SIGINT;
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"generate", "-m", "fake/slow", "hi"}, {"run", "-c", kSlowQuery}}) {
    HostResult result = run_fake(words, options);
    BOOST_TEST(result.exit_code == 130, result.errors);
    BOOST_TEST(result.output.rfind("word ", 0) == 0u);
    BOOST_TEST(result.output.back() == '\n');
    BOOST_TEST(!contains(result.errors, "error"), result.errors);
  }
}

BOOST_AUTO_TEST_CASE(interrupt_while_waiting_for_input) {
  HostOptions options;
  options.keep_input_open = true;
  options.signal_after_ms = 200;
  BOOST_TEST(run_host({"run", "-"}, options).exit_code == 130);
}

BOOST_AUTO_TEST_CASE(interrupt_of_many_generations) {
  HostOptions options;
  options.signal_after_ms = 500;
  HostResult result = run_fake(
      {"run", "-c", R"((plus (g "fake/slow" (user "a")) (g "fake/slow" (user "b"))))"}, options);
  BOOST_TEST(result.exit_code == 130, result.errors);
  BOOST_TEST(result.output == "");
}

BOOST_AUTO_TEST_CASE(a_time_limit_ends_the_query) {
  HostResult result = run_fake({"run", "--timeout", "0.3", "-c", kSlowQuery});
  BOOST_TEST(result.exit_code == 130);
  BOOST_TEST(result.output.rfind("word ", 0) == 0u);
  BOOST_TEST(contains(result.errors, "the time limit is reached"), result.errors);
}

BOOST_AUTO_TEST_CASE(a_failing_generation_exits_1_after_what_it_wrote) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"generate", "-m", "fake/broken", "hi"},
        {"run", "-c", R"((g "fake/broken" (user "hi")))"}}) {
    HostResult result = run_fake(words);
    BOOST_TEST(result.exit_code == 1);
    BOOST_TEST(result.output == "you \n");
    BOOST_TEST(contains(result.errors, "the fake model is broken"), result.errors);
  }
}

BOOST_AUTO_TEST_CASE(times_go_to_standard_error) {
  HostResult result = run_fake({"run", "--time", "-c", kEchoQuery});
  BOOST_TEST(result.output == "you said: hi\n");
  BOOST_TEST(contains(result.errors, "ttft ms"), result.errors);
  BOOST_TEST(contains(result.errors, "eos"), result.errors);
}
