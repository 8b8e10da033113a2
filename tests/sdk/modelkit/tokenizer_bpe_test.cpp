#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>

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

// Merging as it is defined: again and again the first pair of the lowest rank, on strings.
Ids reference(const TinyVocabulary& v, const std::string& word) {
  std::map<std::string, size_t> ranks;
  for (size_t i = 0; i < v.merges.size(); ++i) ranks.emplace(v.merges[i], i);
  std::vector<std::string> parts;
  for (const char c : word) parts.push_back(byte_letter(static_cast<unsigned char>(c)));
  while (true) {
    size_t best = SIZE_MAX, at = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = ranks.find(parts[i] + " " + parts[i + 1]);
      if (found != ranks.end() && found->second < best) {
        best = found->second;
        at = i;
      }
    }
    if (best == SIZE_MAX) break;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  Ids ids;
  for (const std::string& part : parts) ids.push_back(v.id(part));
  return ids;
}

bool is_code(const Error& error, ErrorCode code) { return error.code() == code; }

}  // namespace

BOOST_AUTO_TEST_CASE(merges_by_rank_then_from_the_left) {
  auto v = tiny_bpe();
  const auto t = v.build();
  check(t->encode("abc", kPlain), {v.id("abc")});
  check(t->encode("bcab", kPlain), {v.id("bc"), v.id("ab")});
  check(t->encode("aaa", kPlain), {v.id("aa"), v.id("a")});
  check(t->encode("hello hello", kPlain), {v.id("hello"), v.id("Ġhello")});
  check(t->encode("", kPlain), {});
}

BOOST_AUTO_TEST_CASE(short_and_long_words_merge_as_defined) {
  auto v = tiny_bpe();
  const auto t = v.build();
  uint32_t state = 5;
  for (int round = 0; round < 400; ++round) {
    std::string word;
    for (int i = round % 130; i >= 0; --i) {
      state = state * 1664525u + 1013904223u;
      word += "abchelo"[(state >> 16) % 7];
    }
    const Ids want = reference(v, word);
    BOOST_REQUIRE(t->encode(word, kPlain) == want);
  }
}

BOOST_AUTO_TEST_CASE(candidates_that_a_better_merge_overtook_do_nothing) {
  TinyVocabulary v;
  v.data.model = "gpt2";
  v.data.pre = "gpt-2";
  for (const char* token : {"a", "b", "c", "bc", "abc", "ab"}) v.add(token);
  v.merges = {"b c", "a bc", "a b"};
  const auto t = v.build();
  std::string word;
  for (int i = 0; i < 40; ++i) word += "abcb";
  BOOST_REQUIRE(t->encode(word, kPlain) == reference(v, word));
}

BOOST_AUTO_TEST_CASE(a_merge_may_pass_through_text_that_is_no_token) {
  auto v = tiny_bpe();
  v.merges.push_back("x y");  // "xy" is no token
  v.merges.push_back("xy z");
  v.add("xyz");
  const auto t = v.build();
  check(t->encode("xyz", kPlain), {v.id("xyz")});
  check(t->encode("xyq", kPlain), {v.id("x"), v.id("y"), v.id("q")});
}

BOOST_AUTO_TEST_CASE(special_tokens) {
  auto v = tiny_bpe();
  const auto t = v.build();
  const int32_t start = v.id("<|im_start|>"), user = v.id("<user>");
  check(t->encode("ab<|im_start|>ab", kSpecial), {v.id("ab"), start, v.id("ab")});
  const Ids spelled = t->encode("<|im_start|>", kPlain);
  BOOST_TEST(spelled.size() == 12u);
  BOOST_TEST(t->decode(spelled, false) == "<|im_start|>");
  check(t->encode("<user>ab", kPlain), {user, v.id("ab")});  // user-defined ones always
  BOOST_TEST(t->is_special(start));
  BOOST_TEST(!t->is_special(user));
  BOOST_TEST(!t->is_special(-1));
  BOOST_TEST(t->piece(start, true) == "<|im_start|>");
  BOOST_TEST(t->piece(start, false) == "");
  BOOST_TEST(t->piece(user, false) == "<user>");
}

BOOST_AUTO_TEST_CASE(of_special_tokens_the_longest) {
  auto v = tiny_bpe();
  const int32_t one = v.add("<x>", 3), two = v.add("<x><x>", 3), longer = v.add("<x><x><y>", 3);
  const auto t = v.build();
  check(t->encode("<x><x><x>", kSpecial), {two, one});
  check(t->encode("<x><x><y><x>", kSpecial), {longer, one});
}

BOOST_AUTO_TEST_CASE(marked_ranges_keep_control_tokens_out_but_not_words_apart) {
  auto v = tiny_bpe();
  const auto t = v.build();
  const std::string text = "<|im_end|>ab<|im_end|>c";
  const int32_t end = v.id("<|im_end|>");
  const TextRange inside[] = {{10, 23}};
  const EncodedText marked = t->encode_marked(text, inside, false);
  Ids want{end};
  const Ids rest = t->encode(text.substr(10), kPlain);
  want.insert(want.end(), rest.begin(), rest.end());
  check(marked.ids, want);
  const TextRange last_byte[] = {{9, 10}};  // touches the first one only
  BOOST_TEST(t->encode_marked(text, last_byte, false).ids.back() == v.id("c"));
  BOOST_TEST(std::count(marked.ids.begin(), marked.ids.end(), end) == 1);
  const TextRange empty[] = {{3, 3}};
  check(t->encode_marked(text, empty, false).ids, t->encode(text, kSpecial));
  const TextRange border[] = {{2, 5}};
  check(t->encode_marked("ahello", border, false).ids, t->encode("ahello", kPlain));
}

BOOST_AUTO_TEST_CASE(ends_are_where_the_texts_end) {
  auto v = tiny_bpe();
  v.data.add_bos = true;
  v.data.add_eos = true;
  const auto t = v.build();
  std::string text = "<|im_start|>hello abc\xFF hello <user> \xF0\x9F\xA6\x99";
  for (int i = 0; i < 7; ++i) text += " hello abcab\n";  // enough for the cache of words
  const EncodedText encoded = t->encode_marked(text, {}, true);
  BOOST_REQUIRE_EQUAL(encoded.ids.size(), encoded.ends.size());
  BOOST_TEST(encoded.ids.front() == v.id("<s>"));
  BOOST_TEST(encoded.ids.back() == v.id("</s>"));
  size_t at = 0;
  for (size_t i = 1; i + 1 < encoded.ids.size(); ++i) {
    BOOST_REQUIRE_EQUAL(t->piece(encoded.ids[i], true), text.substr(at, encoded.ends[i] - at));
    at = encoded.ends[i];
  }
  BOOST_TEST(at == text.size());
  BOOST_TEST(encoded.ends.back() == text.size());
}

BOOST_AUTO_TEST_CASE(any_bytes_come_back) {
  auto v = tiny_bpe();
  const auto t = v.build();
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  for (int i = 255; i >= 0; --i) bytes += static_cast<char>(i);
  BOOST_TEST((t->decode(t->encode(bytes, kPlain), true) == bytes));
}

BOOST_AUTO_TEST_CASE(whole_words_first_where_the_recipe_says_so) {
  auto v = tiny_bpe();
  v.add("cab");
  check(v.build()->encode("cab", kPlain), {v.id("c"), v.id("ab")});
  v.data.pre = "llama-bpe";
  check(v.build()->encode("cab", kPlain), {v.id("cab")});
  v.add("zz", 3);  // but plain text never becomes a control token
  check(v.build()->encode("zz", kPlain), {v.id("z"), v.id("z")});
}

BOOST_AUTO_TEST_CASE(bos_by_key_or_by_recipe) {
  auto v = tiny_bpe();
  BOOST_TEST(!v.build()->adds_bos());
  v.data.add_bos = true;
  BOOST_TEST(v.build()->adds_bos());
  v.data.add_bos.reset();
  v.data.pre = "llama-bpe";
  BOOST_TEST(v.build()->adds_bos());
  check(v.build()->encode("ab", {}), {v.id("<s>"), v.id("ab")});
  v.data.bos = UINT32_MAX;  // how files write "none"
  BOOST_TEST(!v.build()->adds_bos());
  BOOST_TEST(!v.build()->bos().has_value());
}

BOOST_AUTO_TEST_CASE(what_ends_an_answer) {
  auto v = tiny_bpe();
  check(v.build()->end_of_generation(), {v.id("</s>"), v.id("<|im_end|>")});
  const int32_t eot = v.add("stop", 3), text_kind = v.add("<|eot_id|>", 1),
                observation = v.add("<|observation|>", 1);
  v.data.eot = static_cast<uint64_t>(eot);
  const auto t = v.build();
  check(t->end_of_generation(), {v.id("</s>"), v.id("<|im_end|>"), eot, text_kind});
  BOOST_TEST(t->is_special(text_kind));
  BOOST_TEST(!t->is_special(observation));
  v.add("<|end|>", 3);
  v.add("<|return|>", 3);
  v.add("<|call|>", 3);
  check(v.build()->end_of_generation(),
        {v.id("</s>"), v.id("<|im_end|>"), eot, text_kind, v.id("<|return|>"), v.id("<|call|>")});
}

// GLM ends its turn by opening the user's, or an observation; elsewhere <|user|> only begins one.
BOOST_AUTO_TEST_CASE(opening_the_users_turn_ends_an_answer_of_glm_alone) {
  auto v = tiny_bpe();
  const int32_t user = v.add("<|user|>", 3);
  check(v.build()->end_of_generation(), {v.id("</s>"), v.id("<|im_end|>")});
  const int32_t observation = v.add("<|observation|>", 3);
  check(v.build()->end_of_generation(), {v.id("</s>"), v.id("<|im_end|>"), user, observation});
}

BOOST_AUTO_TEST_CASE(refuses_what_it_cannot_read) {
  const auto refuse = [](auto change, ErrorCode code) {
    auto v = tiny_bpe();
    change(v);
    BOOST_CHECK_EXCEPTION(v.build(), Error, [&](const Error& e) { return is_code(e, code); });
  };
  refuse([](auto& v) { v.data.model = "bert"; }, ErrorCode::kUnsupported);
  refuse([](auto& v) { v.data.pre.reset(); }, ErrorCode::kUnsupported);
  refuse([](auto& v) { v.data.pre = "no-such"; }, ErrorCode::kUnsupported);
  refuse([](auto& v) { v.types.pop_back(); }, ErrorCode::kCorrupt);
  refuse([](auto& v) { v.scores.push_back(0); }, ErrorCode::kCorrupt);
  refuse([](auto& v) { v.scores[3] = std::nan(""); }, ErrorCode::kCorrupt);
  refuse([](auto& v) { v.merges.push_back("abc"); }, ErrorCode::kCorrupt);
  refuse([](auto& v) { v.merges.push_back(""); }, ErrorCode::kCorrupt);
  refuse(
      [](auto& v) {
        v.tokens.clear();
        v.types.clear();
        v.scores.clear();
      },
      ErrorCode::kCorrupt);
  auto v = tiny_bpe();
  const auto t = v.build();
  for (const int32_t id : {-1, t->vocab_size(), INT32_MIN, INT32_MAX}) {
    BOOST_CHECK_EXCEPTION(t->piece(id, true), Error,
                          [](const Error& e) { return is_code(e, ErrorCode::kInvalid); });
  }
}

BOOST_AUTO_TEST_CASE(odd_vocabularies_do_no_harm) {
  TinyVocabulary v;
  v.data.model = "gpt2";
  v.data.pre = "gpt-2";
  v.add("");
  v.add("");
  v.add("a");
  v.add("a");
  v.add("", 3);
  v.add("b", 99);
  const auto t = v.build();
  check(t->encode("aqa", {}), {2, 2});  // q has no token at all
  v.data.unknown = 0;
  v.types[0] = 2;
  check(v.build()->encode("aqa", {}), {2, 0, 2});
  v.types[0] = 3;  // "unknown" that is a control token is never made from text
  check(v.build()->encode("aqa", {}), {2, 2});
}

BOOST_AUTO_TEST_CASE(megabytes_of_one_word) {
  auto v = tiny_bpe();
  const auto t = v.build();
  const std::string text(1 << 20, 'a');
  BOOST_TEST(t->encode(text, {}).size() == text.size() / 4);
  std::string pipes;
  while (pipes.size() < (1 << 20))
    pipes += "<|im_start|";  // nearly a special token, again and again
  BOOST_TEST((t->decode(t->encode(pipes, {}), true) == pipes));
}
