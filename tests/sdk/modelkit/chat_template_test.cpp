// The template engine against literal results of the reference engine (jinja2 3.1.6 in the
// environment that Hugging Face gives chat templates), against hostile templates, and against
// mutated ones.
#include "spnl/modelkit/chat_template.h"

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "spnl/modelkit/error.h"

using spnl::modelkit::ChatTemplate;
using spnl::modelkit::Error;
using spnl::modelkit::ErrorCode;

namespace {

const std::filesystem::path kShared =
    std::filesystem::path(SPNL_SHARED_DIR) / "data/chat-templates";
const std::filesystem::path kFixtures =
    std::filesystem::path(SPNL_TEST_FIXTURES_DIR) / "chat-templates";
constexpr int64_t kReferenceClock = 1738555506;  // 2025-02-03 04:05:06, when expected.json was made

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

rapidjson::Document parse(const std::filesystem::path& path) {
  rapidjson::Document d;
  d.Parse<rapidjson::kParseFullPrecisionFlag>(read(path).c_str());
  BOOST_REQUIRE(!d.HasParseError());
  return d;
}

std::string dump(const rapidjson::Value& v) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  v.Accept(writer);
  return buffer.GetString();
}

/// The output, or "!" and the message.
std::string outcome(const std::string& source, const std::string& input) {
  try {
    return ChatTemplate(source).render(input, kReferenceClock);
  } catch (const Error& e) {
    return std::string("!") + e.what();
  }
}

ErrorCode code_of(const std::string& source) {
  try {
    ChatTemplate(source).render("{}");
  } catch (const Error& e) {
    BOOST_TEST(std::string(e.what()).find('\n') == std::string::npos);
    return e.code();
  }
  BOOST_ERROR("rendered: " << source.substr(0, 100));
  return ErrorCode::kIo;
}

}  // namespace

BOOST_AUTO_TEST_CASE(snippets_render_as_the_reference_does) {
  std::string text = read(kFixtures / "snippets.json");
  rapidjson::Document d;
  d.Parse<rapidjson::kParseNumbersAsStringsFlag>(text.c_str());  // the big integer must survive
  BOOST_REQUIRE(!d.HasParseError());
  // The input is passed on as it stands in the file.
  size_t begin = text.find("\"input\": ") + 9;
  std::string input = text.substr(begin, text.find(",\n\"cases\"") - begin);
  BOOST_REQUIRE(d["cases"].Size() > 500);
  for (const auto& c : d["cases"].GetArray()) {
    std::string got = outcome(c[0].GetString(), input);
    if (c[1].IsNull()) {
      BOOST_TEST(got.substr(0, 1) == "!", c[0].GetString() << " must be refused, got " << got);
    } else {
      BOOST_TEST(got == std::string(c[1].GetString(), c[1].GetStringLength()),
                 c[0].GetString() << " gave " << got);
    }
  }
}

BOOST_AUTO_TEST_CASE(real_templates_render_as_the_reference_does) {
  if (!std::filesystem::exists(kShared / "expected.json")) {
    BOOST_TEST_MESSAGE("skipped: no shared chat templates");
    return;
  }
  rapidjson::Document d = parse(kShared / "expected.json");
  BOOST_REQUIRE(d.Size() > 0);
  for (const auto& c : d.GetArray()) {
    std::string where = std::string(c["template"].GetString()) + ":" + c["case"].GetString();
    std::string got = outcome(read(kShared / c["template"].GetString()), dump(c["input"]));
    if (c.HasMember("error")) {
      BOOST_TEST(got.substr(0, 1) == "!", where << " must be refused");
    } else {
      BOOST_TEST(got == c["output"].GetString(), where << " differs");
    }
  }
}

BOOST_AUTO_TEST_CASE(messages_name_the_line) {
  BOOST_TEST(outcome("a\n\n{{ x.y }}", "{}").find("line 3: 'x' is undefined") != std::string::npos);
  BOOST_TEST(outcome("a\n  {% nosuch %}", "{}").find("line 2, column 6") != std::string::npos);
  BOOST_TEST(outcome("{{ raise_exception('no\nway') }}", "{}").find("no way") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(input_json) {
  BOOST_TEST(outcome("{{ a }}", "{\"a\": {\"z\": 1, \"b\": 2, \"z\": 3}}") == "{'z': 3, 'b': 2}");
  BOOST_TEST(outcome("{{ a|tojson }}",
                     "{\"a\": [1e2, -0.0, 123456789012345678901, 18446744073709551615]}") ==
             "[100.0, -0.0, 123456789012345678901, 18446744073709551615]");
  for (const char* bad :
       {"", "[]", "{", "{\"a\": \"\\ud800\"}", "{\"a\": \"\xff\"}", "{} x", "null"}) {
    BOOST_TEST(outcome("x", bad).substr(0, 1) == "!", bad);
  }
  BOOST_TEST(outcome("x", "{\"a\": " + std::string(100000, '[')).substr(0, 1) == "!");
}

BOOST_AUTO_TEST_CASE(clock_formats) {
  BOOST_TEST(outcome("{{ strftime_now('%Y-%m-%d %H:%M:%S|%d %b %Y|%B %d, %Y|%j %A %p %y') }}",
                     "{}") == "2025-02-03 04:05:06|03 Feb 2025|February 03, 2025|034 Monday AM 25");
}

BOOST_AUTO_TEST_CASE(hostile_templates_are_stopped) {
  auto many = [](const std::string& s, int n) {
    std::string out;
    for (int i = 0; i < n; ++i) out += s;
    return out;
  };
  BOOST_CHECK(code_of("{{ " + many("(", 10000)) == ErrorCode::kInvalid);
  BOOST_CHECK(code_of("{{ " + many("[", 10000)) == ErrorCode::kInvalid);
  BOOST_CHECK(code_of("{{ " + many("not ", 10000) + "1 }}") == ErrorCode::kInvalid);
  BOOST_CHECK(code_of("{{ " + many("-", 10000) + "1 }}") == ErrorCode::kInvalid);
  BOOST_CHECK(code_of("{{ 1" + many("+1", 10000) + " }}") == ErrorCode::kInvalid);
  BOOST_CHECK(code_of("{{ a" + many(".a", 10000) + " }}") == ErrorCode::kInvalid);
  BOOST_CHECK(code_of(many("{% if 1 %}", 10000)) == ErrorCode::kInvalid);
  BOOST_CHECK(code_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}") == ErrorCode::kNoMemory);
  BOOST_CHECK(code_of("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}") ==
              ErrorCode::kNoMemory);
  BOOST_CHECK(code_of("{{ 'a' * 1000000000000 }}") == ErrorCode::kNoMemory);
  BOOST_CHECK(code_of("{{ [1] * 1000000000 }}") == ErrorCode::kNoMemory);
  BOOST_CHECK(code_of("{{ '%1000000000d' % 1 }}") == ErrorCode::kNoMemory);
  BOOST_CHECK(code_of("{{ 'a'.center(100000000000) }}") == ErrorCode::kNoMemory);
  BOOST_CHECK(code_of("{{ ('a' * 1000000)|replace('a', 'a' * 1000000) }}") == ErrorCode::kNoMemory);
  BOOST_CHECK(code_of("{{ range(1000000) }}") == ErrorCode::kInvalid);
  const std::string loop =
      "{% set r = range(100000) %}{% for a in r %}{% for b in r %}{% for c in r %}";
  BOOST_CHECK(code_of(loop + "{% endfor %}{% endfor %}{% endfor %}") == ErrorCode::kNoMemory);
  const std::string grow = "{% set n = namespace(x=1) %}{% for i in range(100000) %}";
  BOOST_CHECK(code_of(grow + "{% set n.x = [n.x] %}{% endfor %}") == ErrorCode::kNoMemory);
  BOOST_CHECK(
      code_of(grow +
              "{% set n.x = [n.x, n.x] %}{% if i == 60 %}{{ n.x }}{% endif %}{% endfor %}") ==
      ErrorCode::kNoMemory);
  BOOST_CHECK(
      code_of(grow +
              "{% set n.x = [1]|map('upper') if i == 0 else n.x|map('upper') %}{% endfor %}") ==
      ErrorCode::kNoMemory);
  BOOST_CHECK(
      code_of(
          "{% set n = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set n.a = [n.a, n.a] %}"
          "{% set n.b = [n.b, n.b] %}{% endfor %}{{ n.a == n.b }}") == ErrorCode::kNoMemory);
  BOOST_CHECK(code_of("{% set n = namespace() %}{% set n.n = n %}{{ n }}") == ErrorCode::kNoMemory);
  BOOST_TEST(outcome(grow + "{% set c = n.c if n.c is defined else n %}{% set c.x = namespace() "
                            "%}{% set n.c = c.x %}"
                            "{% endfor %}done",
                     "{}") == "done");  // freed without recursion
}

BOOST_AUTO_TEST_CASE(one_template_renders_on_several_threads) {
  ChatTemplate t("{% for i in range(n) %}{{ 'ab' ~ i }}{% endfor %}");
  const std::string want = t.render("{\"n\": 200}");
  std::vector<std::string> got(4);
  std::vector<std::thread> threads;
  for (std::string& out : got)
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) out = t.render("{\"n\": 200}");
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& out : got) BOOST_TEST(out == want);
}

BOOST_AUTO_TEST_CASE(mutated_templates_end_in_output_or_error) {
  std::string text = read(kFixtures / "snippets.json");
  rapidjson::Document d;
  d.Parse<rapidjson::kParseNumbersAsStringsFlag>(text.c_str());
  BOOST_REQUIRE(!d.HasParseError());
  std::string input = dump(d["input"]);
  const auto& cases = d["cases"];
  std::mt19937 random(7);
  auto pick = [&](size_t n) { return static_cast<size_t>(random()) % n; };
  auto source = [&] {
    return std::string(cases[static_cast<rapidjson::SizeType>(pick(cases.Size()))][0].GetString());
  };
  size_t rendered = 0, refused = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string s = source() + source();
    for (size_t edits = 1 + pick(3); edits > 0 && !s.empty(); --edits) {
      size_t at = pick(s.size());
      switch (pick(4)) {
        case 0:
          s.erase(at, 1 + pick(4));
          break;
        case 1:
          s.insert(at, 1, "{}%#()[]|.,:-+~'\"\\ \n0a_*/<=\xc3"[pick(28)]);
          break;
        case 2:
          s.insert(at, s.substr(pick(s.size()), pick(12)));
          break;
        default:
          s[at] = static_cast<char>(pick(256));
      }
    }
    std::string got = outcome(s, input);
    (got.substr(0, 1) == "!" ? refused : rendered) += 1;
  }
  BOOST_TEST(rendered > 200);
  BOOST_TEST(refused > 200);
}
