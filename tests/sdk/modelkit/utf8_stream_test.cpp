#include "spnl/modelkit/utf8_stream.h"

#include <boost/test/unit_test.hpp>
#include <cstdint>

using spnl::modelkit::Utf8Stream;

namespace {

const std::string kBad = "\xEF\xBF\xBD";

std::string all_at_once(std::string_view bytes) {
  Utf8Stream stream;
  std::string out = stream.push(bytes);
  return out + stream.finish();
}

// The decoder of the WHATWG Encoding Standard, step by step as it is written there.
std::string reference(std::string_view bytes) {
  std::string out, character;
  unsigned needed = 0, low = 0x80, high = 0xBF;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    if (needed == 0) {
      if (byte < 0x80) {
        out += bytes[i];
      } else if (byte >= 0xC2 && byte <= 0xF4) {
        needed = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
        if (byte == 0xE0) low = 0xA0;
        if (byte == 0xED) high = 0x9F;
        if (byte == 0xF0) low = 0x90;
        if (byte == 0xF4) high = 0x8F;
        character = bytes[i];
      } else {
        out += kBad;
      }
      continue;
    }
    const bool fits = byte >= low && byte <= high;
    low = 0x80;
    high = 0xBF;
    if (!fits) {
      out += kBad;
      needed = 0;
      --i;  // the byte is looked at again
      continue;
    }
    character += bytes[i];
    if (--needed == 0) out += character;
  }
  return needed > 0 ? out + kBad : out;
}

uint32_t next_random(uint32_t& state) {
  state = state * 1664525u + 1013904223u;
  return state >> 16;
}

}  // namespace

BOOST_AUTO_TEST_CASE(whole_characters_pass_and_parts_wait) {
  Utf8Stream stream;
  BOOST_TEST(stream.push("a\xF0\x9F") == "a");
  BOOST_TEST(stream.push("\xA6") == "");
  BOOST_TEST(stream.push("\x99z") == "\xF0\x9F\xA6\x99z");
  BOOST_TEST(stream.finish() == "");
}

BOOST_AUTO_TEST_CASE(one_replacement_for_each_maximal_part) {
  BOOST_TEST(all_at_once("\xC0\xAF") == kBad + kBad);             // overlong
  BOOST_TEST(all_at_once("\xED\xA0\x80") == kBad + kBad + kBad);  // surrogate
  BOOST_TEST(all_at_once("\xF4\x90\x80\x80") == kBad + kBad + kBad + kBad);
  BOOST_TEST(all_at_once("\xF0\x9F\xA6!") == kBad + "!");
  BOOST_TEST(all_at_once("\xE2\x82") == kBad);
  BOOST_TEST(all_at_once(std::string_view("\0", 1)) == std::string(1, '\0'));
}

BOOST_AUTO_TEST_CASE(random_bytes_as_the_standard_says_however_cut) {
  const unsigned char interesting[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F,
                                       0xA0, 0xBF, 0xC0, 0xC2, 0xDF, 0xE0, 0xE2,
                                       0xED, 0xEF, 0xF0, 0xF3, 0xF4, 0xF5, 0xFF};
  uint32_t state = 7;
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    const uint32_t size = next_random(state) % 12;
    for (uint32_t i = 0; i < size; ++i) {
      bytes += static_cast<char>(interesting[next_random(state) % sizeof interesting]);
    }
    const std::string want = reference(bytes);
    BOOST_REQUIRE_EQUAL(all_at_once(bytes), want);
    Utf8Stream stream;
    std::string got;
    for (size_t at = 0; at < bytes.size();) {
      const size_t n = 1 + next_random(state) % 3;
      got += stream.push(std::string_view(bytes).substr(at, n));
      at += n;
    }
    got += stream.finish();
    BOOST_REQUIRE_EQUAL(got, want);
  }
}
