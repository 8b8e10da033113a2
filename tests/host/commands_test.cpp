#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "json_of.h"
#include "temporary_file.h"

using namespace spnl::host_test;

namespace {

std::vector<int> ints(const rapidjson::Value& list) {
  std::vector<int> out;
  for (const auto& value : list.GetArray()) out.push_back(value.GetInt());
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(generate_json_has_the_keys_of_the_contract) {
  auto json = json_of(run_fake({"generate", "-m", "fake/echo", "--json", "hi"}));
  BOOST_TEST(json["text"].GetString() == std::string("you said: hi"));
  BOOST_TEST(json["ids"].Size() == 3u);
  BOOST_TEST(json["finish_reason"].GetString() == std::string("eos"));
  BOOST_TEST(json["usage"]["prompt_tokens"].GetInt() == 2);
  BOOST_TEST(json["usage"]["cached_tokens"].GetInt() == 0);
  BOOST_TEST(json["usage"]["completion_tokens"].GetInt() == 3);
  BOOST_TEST(json["times"]["load_s"].GetDouble() >= 0);
  BOOST_TEST(std::abs(json["times"]["ttft_s"].GetDouble() - 0.002) < 1e-9);
  BOOST_TEST(std::abs(json["times"]["prefill_tok_s"].GetDouble() - 2000) < 0.1);
  BOOST_TEST(std::abs(json["times"]["decode_tok_s"].GetDouble() - 666.67) < 0.01);
}

BOOST_AUTO_TEST_CASE(generate_takes_the_backend_apart_from_the_model) {
  BOOST_TEST(run_fake({"generate", "--backend", "fake", "--model", "echo", "test"}).output ==
             "you said: test\n");
  BOOST_TEST(run_fake({"generate", "--backend", "fake", "--model", "fake/echo", "test"}).output ==
             "you said: test\n");
}

BOOST_AUTO_TEST_CASE(generate_ends_at_max_tokens) {
  auto json =
      json_of(run_fake({"generate", "-m", "fake/slow", "--max-tokens", "4", "--json", "hi"}));
  BOOST_TEST(json["ids"].Size() == 4u);
  BOOST_TEST(json["finish_reason"].GetString() == std::string("length"));
}

BOOST_AUTO_TEST_CASE(generate_from_ids) {
  auto json =
      json_of(run_fake({"generate", "-m", "fake/echo", "--prompt-ids", "7, 8,9", "--json"}));
  BOOST_TEST(json["usage"]["prompt_tokens"].GetInt() == 3);
}

BOOST_AUTO_TEST_CASE(tokenize_text_file_and_messages) {
  auto text = json_of(run_fake({"tokenize", "-m", "fake/echo", "--text", "ab", "--json"}));
  BOOST_TEST((ints(text["ids"]) == std::vector<int>{1, 97, 98}));
  BOOST_TEST(text["pieces"][1].GetString() == std::string("a"));
  TemporaryFile file(".txt", "ab\n");
  auto plain = json_of(
      run_fake({"tokenize", "-m", "fake/echo", "--file", file.path(), "--no-special", "--json"}));
  BOOST_TEST((ints(plain["ids"]) == std::vector<int>{97, 98, 10}));
  TemporaryFile chat(".json", R"([{"role": "user", "content": "ab"}])");
  auto messages = json_of(run_fake(
      {"tokenize", "-m", "fake/echo", "--messages", chat.path(), "--no-special", "--json"}));
  BOOST_TEST((ints(messages["ids"]) == std::vector<int>{97, 98}));
  auto empty =
      json_of(run_fake({"tokenize", "-m", "fake/echo", "--text", "", "--no-special", "--json"}));
  BOOST_TEST(empty["ids"].Empty());
}

BOOST_AUTO_TEST_CASE(pieces_that_are_no_utf8_still_make_valid_json) {
  auto json = json_of(
      run_fake({"tokenize", "-m", "fake/bytes", "--text", "\xC3\xA9", "--no-special", "--json"}));
  BOOST_TEST((ints(json["ids"]) == std::vector<int>{0xC3, 0xA9}));
  BOOST_TEST(json["pieces"][0].GetString() == std::string("\xEF\xBF\xBD"));
}

BOOST_AUTO_TEST_CASE(a_file_that_is_no_utf8_is_refused) {
  TemporaryFile file(".txt", "ab\xff");
  HostResult result = run_fake({"tokenize", "-m", "fake/echo", "--file", file.path()});
  BOOST_TEST(result.exit_code == 2);
  BOOST_TEST(contains(result.errors, "not UTF-8 at byte 2"), result.errors);
}

BOOST_AUTO_TEST_CASE(template_of_a_model) {
  TemporaryFile chat(".json", R"({"messages": [{"role": "system", "content": "s"},
      {"role": "user", "content": [{"type": "text", "text": "u"}]}]})");
  BOOST_TEST(run_fake({"template", "-m", "fake/echo", "--input", chat.path()}).output ==
             "system: s\nuser: u\nassistant: ");
  TemporaryFile without(
      ".json",
      R"({"messages": [{"role": "user", "content": "u"}], "add_generation_prompt": false})");
  BOOST_TEST(run_fake({"template", "-m", "fake/echo", "--input", without.path()}).output ==
             "user: u\n");
  TemporaryFile refused(".json", R"([{"role": "tool", "content": "t"}])");
  BOOST_TEST(run_fake({"template", "-m", "fake/echo", "--input", refused.path()}).exit_code == 1);
  TemporaryFile extra(".json", R"({"messages": [], "bos_token": "x", "enable_thinking": true})");
  HostResult result = run_fake({"template", "-m", "fake/echo", "--input", extra.path()});
  BOOST_TEST(result.exit_code == 2);
  BOOST_TEST(contains(result.errors, "bos_token, enable_thinking"), result.errors);
  TemporaryFile calls(".json", R"([{"role": "assistant", "content": "", "tool_calls": []}])");
  BOOST_TEST(run_fake({"template", "-m", "fake/echo", "--input", calls.path()}).exit_code == 2);
}

BOOST_AUTO_TEST_CASE(template_of_a_file) {
  TemporaryFile source(
      ".jinja", "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ bos_token }}");
  TemporaryFile chat(".json",
                     R"({"messages": [{"role": "user", "content": "é"}], "bos_token": "B"})");
  HostResult result = run_host({"template", "--template", source.path(), "--input", chat.path()});
  BOOST_TEST(result.exit_code == 0, result.errors);
  BOOST_TEST(result.output == "<user>éB");
  TemporaryFile clock(".jinja", "{{ strftime_now('%Y-%m-%d') }}");
  std::vector<std::string> dated = {"template", "--template", clock.path(), "--input", chat.path()};
  HostOptions fixed;
  fixed.environment = {{"SOURCE_DATE_EPOCH", "86400"}};
  BOOST_TEST(run_host(dated, fixed).output == "1970-01-02");
  fixed.environment = {{"SOURCE_DATE_EPOCH", "soon"}};
  BOOST_TEST(run_host(dated, fixed).exit_code == 2);
  dated.insert(dated.end(), {"--now", "0"});
  BOOST_TEST(run_host(dated).output == "1970-01-01");
  TemporaryFile refusing(".jinja", "{{ raise_exception('no') }}");
  BOOST_TEST(
      run_host({"template", "--template", refusing.path(), "--input", chat.path()}).exit_code == 1);
  TemporaryFile broken(".json", "{\n  \"messages\": [}");
  HostResult bad = run_host({"template", "--template", source.path(), "--input", broken.path()});
  BOOST_TEST(bad.exit_code == 2);
  BOOST_TEST(contains(bad.errors, broken.path() + ":2:16"), bad.errors);
}

BOOST_AUTO_TEST_CASE(score_json_has_the_keys_of_the_contract) {
  auto json =
      json_of(run_fake({"score", "-m", "fake/echo", "--ids", "5,1,3", "--top", "2", "--json"}));
  BOOST_TEST((ints(json["ids"]) == std::vector<int>{5, 1, 3}));
  BOOST_TEST(json["logprobs"][0].IsNull());
  BOOST_TEST(json["logprobs"][2].GetDouble() == -3.0);
  BOOST_TEST(std::abs(json["perplexity"].GetDouble() - std::exp(2.0)) < 1e-6);
  BOOST_TEST(json["top"].Size() == 2u);
  BOOST_TEST(json["top"][0]["id"].GetInt() == 255);
  BOOST_TEST(static_cast<float>(json["top"][0]["logit"].GetDouble()) == 0.1f);
  BOOST_TEST(std::abs(json["top"][0]["logprob"].GetDouble() + 1.4) < 1e-6);
  BOOST_TEST(json["top"][0]["piece"].GetString() == std::string("\xEF\xBF\xBD"));
  auto all =
      json_of(run_fake({"score", "-m", "fake/echo", "--text", "a", "--top", "999", "--json"}));
  BOOST_TEST(all["top"].Size() == 256u);
  BOOST_TEST(run_fake({"score", "-m", "fake/echo", "--ids", "256"}).exit_code == 2);
}

BOOST_AUTO_TEST_CASE(backends_lists_the_good_and_the_bad) {
  auto json = json_of(run_fake({"backends", "--json"}));
  bool found = false;
  for (const auto& backend : json["backends"].GetArray())
    found |= backend["id"].GetString() == std::string("fake") && backend["usable"].GetBool();
  BOOST_TEST(found);
  BOOST_TEST(json["search_path"].Size() >= 1u);
  HostResult text = run_fake({"backends"});
  BOOST_TEST(contains(text.output, "fake 0.1.0"), text.output);
  BOOST_TEST(contains(text.output, "looked in"), text.output);
}

BOOST_AUTO_TEST_CASE(doctor_tells_of_backends_and_model) {
  HostResult result = run_fake({"doctor", "--json"});
  rapidjson::Document json;
  json.Parse(result.output.c_str());
  BOOST_REQUIRE_MESSAGE(!json.HasParseError(), result.output);
  BOOST_TEST(result.exit_code == (json["healthy"].GetBool() ? 0 : 3));
  bool backend = false, model = false;
  for (const auto& check : json["checks"].GetArray()) {
    backend |= check["name"].GetString() == std::string("backend fake") &&
               check["verdict"].GetString() == std::string("ok");
    model |= check["name"].GetString() == std::string("default model");
  }
  BOOST_TEST(backend);
  BOOST_TEST(model);
}

BOOST_AUTO_TEST_CASE(doctor_tells_of_the_span_cache) {
  const std::string none = "none; see --span-cache";
  BOOST_TEST(contains(run_fake({"doctor"}).output, none));
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("doctor_" + std::to_string(::getpid()));
  const auto told = [&] { return run_fake({"doctor", "--span-cache", folder.string()}).output; };
  BOOST_TEST(contains(told(), folder.string() + " will be made"));
  std::filesystem::create_directories(folder / "group");
  std::ofstream(folder / "group" / "file") << std::string(3 << 19, 'x');
  BOOST_TEST(contains(told(), folder.string() + ", 1.5 MiB"));
  std::filesystem::remove_all(folder);
  std::ofstream(folder) << "a file";
  BOOST_TEST(contains(told(), "warning  span cache"));
  std::filesystem::remove(folder);
}

BOOST_AUTO_TEST_CASE(show_query_prints_it_and_stops) {
  HostResult result = run_host({"run", "-s", "-c", R"((g "no/model" (user "hi")))"});
  BOOST_TEST(result.exit_code == 0, result.errors);
  BOOST_TEST(contains(result.output, "no/model"), result.output);
  auto json =
      json_of(run_host({"run", "-s", "--json", "-c", R"((g "no/model" (user "hi") 0.3 7))"}));
  BOOST_TEST(json["g"]["model"].GetString() == std::string("no/model"));
  BOOST_TEST(json["g"]["max_tokens"].GetInt() == 7);
  BOOST_TEST(json["g"]["input"]["user"].GetString() == std::string("hi"));
  BOOST_TEST(contains(
      run_host({"run", "-s", "--json", "-c", R"((g "no/model" (user "hi") 0.3 7))"}).output,
      "\"temperature\": 0.3,"));
}
