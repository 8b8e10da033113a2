// JSON read where it lies, against RapidJSON: what is JSON, and what it says.
#include "json_file.h"

#include <rapidjson/document.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <random>

#include "spnl/modelkit/error.h"

using namespace spnl::modelkit;

namespace {

bool equal(const JsonValue& ours, const rapidjson::Value& theirs) {
  if (theirs.IsNull()) return ours.is_null();
  if (theirs.IsBool()) return ours.is_bool() && ours.truth() == theirs.GetBool();
  if (theirs.IsString())
    return ours.is_string() &&
           ours.text() == std::string(theirs.GetString(), theirs.GetStringLength());
  if (theirs.IsNumber()) {
    if (!ours.is_number()) return false;
    if (ours.whole().has_value() != theirs.IsUint64() && theirs.GetDouble() != 0) return false;
    if (theirs.IsUint64() && ours.whole().value_or(theirs.GetUint64()) != theirs.GetUint64())
      return false;
    return ours.number() == theirs.GetDouble() || std::isnan(theirs.GetDouble());
  }
  if (theirs.IsArray()) {
    if (!ours.is_array() || ours.size() != theirs.Size()) return false;
    rapidjson::SizeType i = 0;
    for (const JsonValue& element : ours.elements())
      if (!equal(element, theirs[i++])) return false;
    return i == theirs.Size();
  }
  if (!ours.is_object() || ours.size() != theirs.MemberCount()) return false;
  auto member = theirs.MemberBegin();
  for (const auto& [key, value] : ours.members()) {
    if (!key.text_is({member->name.GetString(), member->name.GetStringLength()})) return false;
    if (!equal(value, (member++)->value)) return false;
  }
  return true;
}

/// Both read it alike, or both refuse it. Returns whether they read it.
bool agree(const std::string& text) {
  rapidjson::Document theirs;
  theirs.Parse<rapidjson::kParseFullPrecisionFlag | rapidjson::kParseIterativeFlag>(text.data(),
                                                                                    text.size());
  try {
    const JsonFile ours(text, "test");
    BOOST_TEST_REQUIRE(!theirs.HasParseError(), text << " is no JSON");
    BOOST_TEST_REQUIRE(equal(ours.root(), theirs), text << " is read otherwise");
    return true;
  } catch (const Error& error) {
    BOOST_TEST_REQUIRE(theirs.HasParseError(), text << " is refused: " << error.what());
    return false;
  }
}

std::string refusal(const std::string& text) {
  try {
    const JsonFile file(text, "test");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

BOOST_AUTO_TEST_CASE(values_of_every_kind) {
  for (const char* text : {"null",
                           " true ",
                           "false",
                           "0",
                           "-0",
                           "12",
                           "-12",
                           "1.5",
                           "1e3",
                           "-1.25E-2",
                           "18446744073709551615",
                           "18446744073709551616",
                           "0.1",
                           "123456789012345678901234567890",
                           R"("")",
                           R"("a")",
                           R"("\"\\\/\b\f\n\r\t")",
                           R"("\u00e9\u20AC\ud83d\ude00")",
                           "[]",
                           "{}",
                           "[ ]",
                           "{ }",
                           "[1,[2,[]],{}]",
                           R"({"a":1,"b":[true,null],"a":{"c":"d"}})",
                           "[\n1 ,\t2\r]",
                           "\xEF\xBB\xBF[1]"})
    BOOST_TEST(agree(text), text);
}

BOOST_AUTO_TEST_CASE(what_is_no_json) {
  for (const char* text : {"",         " ",           "nul",         "tru",
                           "01",       "-",           "1.",          ".5",
                           "1e",       "+1",          "[",           "]",
                           "[1,]",     "[,1]",        "{,}",         "{\"a\"}",
                           "{\"a\":}", "{\"a\":1,}",  "{1:2}",       "\"",
                           "\"\\x\"",  "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800\\u0041\"",
                           "\"a\nb\"", "[1 2]",       "1 2",         "{\"a\":1 \"b\":2}",
                           "'a'",      "[1}",         "{]",          "\\",
                           "\"\\",     "\"\\u",       "[1],"})
    BOOST_TEST(!agree(text), text);
  BOOST_TEST(refusal("[1,\n x]") == "test: bad JSON at byte 5: no value");
  BOOST_TEST(refusal(std::string(65, '[') + std::string(65, ']')).find("nested too deeply") !=
             std::string::npos);
  BOOST_TEST(refusal(std::string(64, '[') + std::string(64, ']')) == "");
  // As Python writes them.
  BOOST_TEST(std::isnan(JsonFile("NaN", "test").root().number()));
  BOOST_TEST(JsonFile("-Infinity", "test").root().number() == -INFINITY);
}

BOOST_AUTO_TEST_CASE(changed_texts_are_read_as_others_read_them) {
  const std::string whole =
      R"({"a":[1,-2.5e3,{"b":"x\u00e9\n","c":null}],"d":{"e":[[],{},true]},"g":0.0})";
  constexpr char kAlphabet[] = "{}[]\",:\\ue0129.-+ \tntrfalsd8";
  std::mt19937_64 random(7);
  int accepted = 0;
  for (int i = 0; i < 200'000; ++i) {
    std::string text = whole.substr(0, 1 + random() % whole.size() * 2);
    for (uint64_t changes = random() % 3; changes-- > 0;) {
      const char c = kAlphabet[random() % (sizeof kAlphabet - 1)];
      const size_t at = random() % text.size();
      if (random() % 2 == 0)
        text[at] = c;
      else
        text.insert(at, 1, c);
    }
    accepted += agree(text);
  }
  BOOST_TEST(accepted > 1000);
}

BOOST_AUTO_TEST_CASE(large_lists_are_counted_and_skipped) {
  std::string text = R"({"x":[)";
  for (int i = 0; i < 20'000; ++i) text += "[1,\"]\"],";
  text += R"(0],"y":{"z":7},"x":null})";
  const JsonFile file(text, "test");
  const JsonValue root = file.root();
  BOOST_TEST((*root.members().begin()).value.size() == 20'001u);
  BOOST_TEST(file.number(*root.find("y"), "z").value() == 7u);
  BOOST_TEST(!root.find("x"));  // of a name that occurs twice, the last counts
  BOOST_TEST(root.size() == 3u);
  BOOST_TEST(agree(text));
}
