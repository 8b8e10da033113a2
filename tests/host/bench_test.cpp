#include <signal.h>

#include <boost/test/unit_test.hpp>

#include "json_of.h"
#include "terminal_process.h"

using namespace spnl::host_test;

namespace {

using Words = std::vector<std::string>;

Words bench(Words more) {
  Words words = {"bench", "-m", "fake/slow", "--threads", "2", "--json"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// "prefill 128x1" for each row, in their order.
Words rows_of(const rapidjson::Value& json) {
  Words rows;
  for (const auto& row : json["results"].GetArray())
    rows.push_back(row["part"].GetString() + (" " + std::to_string(row["tokens"].GetInt())) + "x" +
                   std::to_string(row["sequences"].GetInt()));
  return rows;
}

void check_list(const Words& rows, const Words& expected) {
  BOOST_CHECK_EQUAL_COLLECTIONS(rows.begin(), rows.end(), expected.begin(), expected.end());
}

void check_rates(const rapidjson::Value& row) {
  BOOST_TEST(row["least_tok_s"].GetDouble() > 0);
  BOOST_TEST(row["least_tok_s"].GetDouble() <= row["tok_s"].GetDouble());
  BOOST_TEST(row["tok_s"].GetDouble() <= row["most_tok_s"].GetDouble());
}

}  // namespace

BOOST_AUTO_TEST_CASE(json_has_the_peers_keys) {
  for (const char* sequences : {"1", "3"}) {
    auto json = json_of(run_fake(bench({"--prompt-tokens", "16", "--gen-tokens", "8", "--sequences",
                                        sequences, "--repeat", "2"})));
    for (const char* key : {"engine", "model", "prompt", "gen", "threads", "sequences",
                            "prefill_tok_s", "decode_tok_s", "ttft_s", "load_s", "memory"})
      BOOST_TEST(json.HasMember(key), key);
    BOOST_TEST(json["prompt"].GetInt() == 16);
    BOOST_TEST(json["gen"].GetInt() == 8);
    BOOST_TEST(json["threads"].GetInt() == 2);
    BOOST_TEST(json["sequences"].GetInt() == std::stoi(sequences));
    BOOST_TEST(json["prefill_tok_s"].GetDouble() > 0);
    BOOST_TEST(json["decode_tok_s"].GetDouble() > 0);
    BOOST_TEST(json["ttft_s"].GetDouble() > 0);
    BOOST_TEST(json["memory"]["peak_rss_bytes"].GetUint64() > (1u << 20));
    BOOST_TEST(json["complete"].GetBool());
    check_list(rows_of(json),
               {"prefill 16x" + std::string(sequences), "decode 16x" + std::string(sequences)});
  }
}

BOOST_AUTO_TEST_CASE(alone_it_measures_the_overview) {
  auto json = json_of(run_fake(bench({"--gen-tokens", "1", "--repeat", "1"})));
  check_list(rows_of(json),
             {"prefill 128x1", "prefill 512x1", "prefill 2048x1", "decode 0x1", "decode 128x1",
              "decode 512x1", "decode 2048x1", "decode 128x4", "decode 128x8", "decode 128x16"});
  for (const auto& row : json["results"].GetArray()) {
    BOOST_TEST(row["rounds"].GetInt() == 1);
    check_rates(row);
  }
  BOOST_TEST(json["prompt"].GetInt() == 512);
  BOOST_TEST(json["sequences"].GetInt() == 1);
  BOOST_TEST(json["prefill_tok_s"].GetDouble() == json["results"][1]["tok_s"].GetDouble());
  BOOST_TEST(json["decode_tok_s"].GetDouble() == json["results"][5]["tok_s"].GetDouble());
}

BOOST_AUTO_TEST_CASE(lists_give_every_length_and_depth_with_every_number_of_sequences) {
  const Words few = {"--gen-tokens", "1", "--repeat", "1"};
  auto rows = [&](Words more) {
    more.insert(more.end(), few.begin(), few.end());
    return rows_of(json_of(run_fake(bench(more))));
  };
  check_list(
      rows({"--prompt-tokens", "8,4", "--depth", "0", "--sequences", "1,2"}),
      {"prefill 4x1", "prefill 8x1", "prefill 4x2", "prefill 8x2", "decode 0x1", "decode 0x2"});
  check_list(rows({"--depth", "3,3"}), {"decode 3x1"});
  check_list(rows({"--sequences", "2"}), {"prefill 512x2", "decode 512x2"});
}

BOOST_AUTO_TEST_CASE(without_prefill_the_headline_is_the_decode) {
  auto json = json_of(run_fake(bench({"--depth", "7", "--gen-tokens", "2", "--repeat", "1"})));
  BOOST_TEST(json["prompt"].GetInt() == 7);
  BOOST_TEST(json["prefill_tok_s"].IsNull());
  BOOST_TEST(json["decode_tok_s"].GetDouble() > 0);
}

BOOST_AUTO_TEST_CASE(the_table_shows_what_was_measured) {
  HostResult result = run_fake({"bench", "-m", "fake/slow", "--prompt-tokens", "16", "--depth",
                                "0,9", "--sequences", "2", "--gen-tokens", "3", "--repeat", "2"});
  BOOST_TEST(result.exit_code == 0, result.errors);
  BOOST_TEST(result.errors == "");
  BOOST_TEST(count(result.output, "\nprefill ") == 1u);
  BOOST_TEST(count(result.output, "\ndecode ") == 2u);
  BOOST_TEST(contains(result.output, "first token"));
  BOOST_TEST(contains(result.output, "process at its peak "));
  BOOST_TEST(contains(result.output, "loaded in "));
}

BOOST_AUTO_TEST_CASE(what_the_context_cannot_hold_is_cut_and_told) {
  HostResult result =
      run_fake(bench({"--prompt-tokens", "5000,6000,16", "--gen-tokens", "4", "--repeat", "1"}));
  auto json = json_of(result);
  check_list(rows_of(json), {"prefill 16x1", "prefill 4091x1", "decode 16x1", "decode 4091x1"});
  BOOST_TEST(contains(result.errors, "4091 tokens of prompt instead of 5000"));
  BOOST_TEST(contains(result.errors, "context is 4096"));
}

BOOST_AUTO_TEST_CASE(lists_that_are_none_are_refused) {
  for (const char* list :
       {"", ",", "1,", "1,,2", "x", "1, 2", "0", "1,0", "-1", "1.5", "99999999999999999999"})
    for (const char* option : {"--prompt-tokens", "--sequences"}) {
      HostResult result = run_fake({"bench", "-m", "fake/slow", option, list});
      BOOST_TEST(result.exit_code == 2, option << " " << list);
      BOOST_TEST(contains(result.errors, option), result.errors);
      BOOST_TEST(count(result.errors, "\n") == 1u);
    }
}

BOOST_AUTO_TEST_CASE(the_time_limit_keeps_what_was_measured) {
  HostResult result = run_fake(
      bench({"--depth", "0", "--gen-tokens", "2", "--repeat", "1000", "--timeout", "0.5"}));
  auto json = json_of(result);
  BOOST_TEST(!json["complete"].GetBool());
  BOOST_TEST(json["results"][0]["rounds"].GetInt() >= 1);
  check_rates(json["results"][0]);
  BOOST_TEST(contains(result.errors, "stopped after 0.5 s"));
}

BOOST_AUTO_TEST_CASE(a_time_limit_within_the_first_round_is_an_error) {
  HostResult result = run_fake(bench({"--gen-tokens", "2000", "--timeout", "0.1"}));
  BOOST_TEST(result.exit_code == 1);
  BOOST_TEST(result.output == "");
  BOOST_TEST(contains(result.errors, "no round ended within 0.1 s (--timeout)"));
}

BOOST_AUTO_TEST_CASE(an_interrupt_prints_what_was_measured) {
  HostOptions options;
  options.signal_after_ms = 1500;
  HostResult result =
      run_fake(bench({"--depth", "0,9", "--gen-tokens", "2", "--repeat", "1000"}), options);
  BOOST_TEST(result.exit_code == 130);
  BOOST_TEST(contains(result.errors, "interrupted"));
  BOOST_TEST(contains(result.output, "\"complete\":false"));
  BOOST_TEST(contains(result.output, "{\"part\":\"decode\",\"tokens\":9"));
}

BOOST_AUTO_TEST_CASE(failures_are_one_line) {
  HostResult broken = run_fake({"bench", "-m", "fake/broken"});
  BOOST_TEST(broken.exit_code == 1);
  BOOST_TEST(contains(broken.errors, "the fake model is broken"));
  BOOST_TEST(count(broken.errors, "\n") == 1u);
  HostResult nowhere = run_host({"bench", "-m", "nosuch/model"});
  BOOST_TEST(nowhere.exit_code == 3);
  BOOST_TEST(contains(nowhere.errors, "nosuch"));
}

BOOST_AUTO_TEST_CASE(a_terminal_shows_progress_until_the_figures_come) {
  TerminalProcess process(
      {"bench", "-m", "fake/slow", "--depth", "0", "--gen-tokens", "40", "--repeat", "3"});
  BOOST_TEST(process.wait_for("measuring "));
  BOOST_TEST(process.wait_for("%"));
  BOOST_TEST(process.finish() == 0);
  for (const std::string& line : screen(process.written(), 80))
    BOOST_TEST(!contains(line, "measuring"), line);
}
