#include <boost/test/unit_test.hpp>

#include "spnl/modelkit/error.h"
#include "tokenizer_fixture.h"

using namespace spnl::modelkit;
using Ids = std::vector<int32_t>;

namespace {

constexpr TokenizeOptions kPlain{.add_special = false, .parse_special = false};
constexpr TokenizeOptions kSpecial{.add_special = false, .parse_special = true};

void check(const Ids& got, const Ids& want) {
  BOOST_TEST(got == want, boost::test_tools::per_element());
}

TinyVocabulary tiny_spm(bool bytes = true) {
  TinyVocabulary v;
  v.data.model = "llama";
  v.add("<unk>", 2);
  v.add("<s>", 3);
  v.add("</s>", 3);
  const char digits[] = "0123456789ABCDEF";
  for (int i = 0; bytes && i < 256; ++i)
    v.add({'<', '0', 'x', digits[i / 16], digits[i % 16], '>'}, 6);
  double score = 0;
  for (const char* text : {"▁h", "el", "lo", "▁hel", "▁hello", "▁▁", "▁▁▁▁", "▁", "h", "e", "l",
                           "o",  "a",  "ä",  "s",    ">",      "<",  "s>",   "0", "x", "4", "1"}) {
    v.add(text, 1, score);
    score -= 1;
  }
  v.add("<tool>", 4, -1000);
  return v;
}

// The definition: of all neighbours whose joined text is a token the best score, of equal ones the
// leftmost.
Ids reference(const TinyVocabulary& v, const std::string& text) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const size_t size = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    parts.push_back(text[at] == ' ' ? "▁" : text.substr(at, size));
    at += size;
  }
  while (true) {
    double best = -1e30;
    size_t place = SIZE_MAX;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const int32_t id = v.id(parts[i] + parts[i + 1]);
      if (id < 0 || v.types[static_cast<size_t>(id)] != 1 ||
          v.scores[static_cast<size_t>(id)] <= best)
        continue;
      best = v.scores[static_cast<size_t>(id)];
      place = i;
    }
    if (place == SIZE_MAX) break;
    parts[place] += parts[place + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(place) + 1);
  }
  Ids ids;
  for (const std::string& part : parts) ids.push_back(v.id(part));
  return ids;
}

}  // namespace

BOOST_AUTO_TEST_CASE(merges_by_score) {
  auto v = tiny_spm();
  const auto t = v.build();
  check(t->encode("hello", kPlain), {v.id("▁hello")});
  check(t->encode("hello", {}), {1, v.id("▁hello")});
  check(t->encode(" hello", kPlain), {v.id("▁"), v.id("▁hello")});  // with the blank before it, two
  check(t->encode("", {}), {1});
  check(t->encode("", kPlain), {});
}

BOOST_AUTO_TEST_CASE(random_texts_merge_as_defined_with_and_without_word_borders) {
  for (const bool apart : {true, false}) {
    auto v = tiny_spm();
    v.data.add_space_prefix = false;
    if (!apart) v.add("o▁h", 1, -2.5);  // a token across two words
    const auto t = v.build();
    uint32_t state = 9;
    for (int round = 0; round < 600; ++round) {
      std::string text;
      for (int i = round % 90; i >= 0; --i) {
        state = state * 1664525u + 1013904223u;
        const char* const units[] = {"h", "e", "l", "o", " ", "hello", "  ", "ä"};
        text += units[(state >> 16) % 8];
      }
      BOOST_REQUIRE_MESSAGE(t->encode(text, kPlain) == reference(v, text), text);
    }
  }
}

BOOST_AUTO_TEST_CASE(bytes_for_what_is_no_token) {
  auto v = tiny_spm();
  const auto t = v.build();
  check(t->encode("é\xFF", kPlain), {v.id("▁"), v.id("<0xC3>"), v.id("<0xA9>"), v.id("<0xFF>")});
  auto poor = tiny_spm(false);
  check(poor.build()->encode("aéa", kPlain), {poor.id("▁"), poor.id("a"), 0, poor.id("a")});
}

BOOST_AUTO_TEST_CASE(plain_text_never_spells_control_or_byte_tokens) {
  auto v = tiny_spm();
  const auto t = v.build();
  check(t->encode("<s>", kPlain), {v.id("▁"), v.id("<"), v.id("s>")});
  check(t->encode("<0x41>", kPlain),
        {v.id("▁"), v.id("<"), v.id("0"), v.id("x"), v.id("4"), v.id("1"), v.id(">")});
  check(t->encode("<s>", kSpecial), {1});
}

BOOST_AUTO_TEST_CASE(a_blank_goes_before_text_after_special_tokens) {
  auto v = tiny_spm();
  const auto t = v.build();
  check(t->encode("<s>hello</s>hello", kSpecial), {1, v.id("▁hello"), 2, v.id("▁hello")});
  check(t->encode("hello<tool>hello", kPlain), {v.id("▁hello"), v.id("<tool>"), v.id("▁hello")});
  v.data.add_space_prefix = false;
  check(v.build()->encode("<s> hello", kSpecial), {1, v.id("▁hello")});
  check(v.build()->encode("a", kSpecial), {v.id("a")});
}

BOOST_AUTO_TEST_CASE(phi3_drops_white_space_after_its_tokens) {
  auto v = tiny_spm();
  const int32_t user = v.add("<|user|>", 3);
  check(v.build()->encode("<|user|>\n hello", kSpecial),
        {user, v.id("▁"), v.id("<0x0A>"), v.id("▁hello")});
  v.data.model_name = "Phi-3 mini";
  check(v.build()->encode("<|user|>\n hello", kSpecial), {user, v.id("▁hello")});
  check(v.build()->encode("<s> \n hello", kSpecial),
        {1, v.id("▁▁"), v.id("<0x0A>"), v.id("▁hello")});
  check(v.build()->encode("</s> \n", kSpecial), {2});
}

BOOST_AUTO_TEST_CASE(decoding_drops_the_first_blank_only) {
  auto v = tiny_spm();
  const auto t = v.build();
  const int32_t hello = v.id("▁hello");
  BOOST_TEST(t->piece(hello, false) == " hello");
  BOOST_TEST(t->decode({hello, hello}, false) == "hello hello");
  BOOST_TEST(t->decode({1, hello}, false) == "hello");
  BOOST_TEST(t->decode({1, hello}, true) == "<s> hello");
  BOOST_TEST(t->piece(v.id("<0xFF>"), false) == "\xFF");
  BOOST_TEST(t->decode(t->encode("  é hello\n", kPlain), false) == "  é hello\n");
  v.data.add_space_prefix = false;
  BOOST_TEST(v.build()->decode({hello}, false) == " hello");
}

BOOST_AUTO_TEST_CASE(ends_are_where_the_texts_end) {
  auto v = tiny_spm();
  const auto t = v.build();
  std::string text = "hello é \xFF<tool>hello";
  for (int i = 0; i < 30; ++i) text += " hello  aä\n";
  const EncodedText encoded = t->encode_marked(text, {}, true);
  BOOST_REQUIRE_EQUAL(encoded.ids.size(), encoded.ends.size());
  BOOST_TEST(encoded.ends[0] == 0u);
  size_t at = 0;
  for (size_t i = 1; i < encoded.ids.size(); ++i) {
    const std::string source = text.substr(at, encoded.ends[i] - at);
    const std::string piece = t->piece(encoded.ids[i], true);
    BOOST_REQUIRE_MESSAGE(piece == source || piece == " " + source,
                          piece << " for " << source);  // the added blank
    at = encoded.ends[i];
  }
  BOOST_TEST(at == text.size());
}

BOOST_AUTO_TEST_CASE(numbers_that_the_file_leaves_out) {
  auto v = tiny_spm();
  const auto t = v.build();
  BOOST_TEST(t->bos().value() == 1);
  BOOST_TEST(t->eos().value() == 2);
  BOOST_TEST(t->adds_bos());
  check(t->end_of_generation(), {2});
  v.data.add_bos = false;
  BOOST_TEST(!v.build()->adds_bos());
}

BOOST_AUTO_TEST_CASE(megabytes_of_one_word) {
  auto v = tiny_spm();
  v.add("aa", 1, -30);
  const auto t = v.build();
  BOOST_TEST(t->encode(std::string(1 << 20, 'a'), kPlain).size() == (1u << 19) + 1);
  BOOST_TEST(t->encode(std::string(1 << 20, ' '), kPlain).size() == (1u << 18) + 1);
}
