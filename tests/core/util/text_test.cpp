#include "util/text.h"

#include <boost/test/unit_test.hpp>

#include "spnl/error.h"

namespace {

using namespace spnl;

BOOST_AUTO_TEST_CASE(finds_invalid_utf8) {
  constexpr size_t kValid = std::string_view::npos;
  BOOST_TEST(text::first_invalid_utf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80") == kValid);
  BOOST_TEST(text::first_invalid_utf8("a\xC0\x80") == 1u);         // overlong
  BOOST_TEST(text::first_invalid_utf8("ab\xED\xA0\x80") == 2u);    // surrogate
  BOOST_TEST(text::first_invalid_utf8("\xF4\x90\x80\x80") == 0u);  // beyond the last code point
  BOOST_TEST(text::first_invalid_utf8("abc\xE2\x82") == 3u);       // cut off
}

BOOST_AUTO_TEST_CASE(suggests_near_names) {
  const std::vector<std::string> known{"seq", "system", "model", "max-tokens", "g"};
  BOOST_TEST(text::edit_distance("sqe", "seq") == 1u);
  BOOST_TEST(text::did_you_mean("modle", known) == "did you mean 'model'?");
  BOOST_TEST(text::did_you_mean("max_tokens", known) == "did you mean 'max-tokens'?");
  BOOST_TEST(text::did_you_mean("x", known) == "");
  BOOST_TEST(text::did_you_mean(std::string(100'000, 'm'), known) == "");
}

BOOST_AUTO_TEST_CASE(quotes) {
  BOOST_TEST(text::quote_json("a\"\\\n\x01") == "\"a\\\"\\\\\\n\\u0001\"");
  BOOST_TEST(text::quote("ab\ncd", 4) == "'ab\\nc...'");
}

BOOST_AUTO_TEST_CASE(errors_are_one_line) {
  const Error error(ErrorCode::kUsage, "a\nb", "here", "do c");
  BOOST_TEST(std::string(error.what()) == "a b (here); do c");
}

}  // namespace
