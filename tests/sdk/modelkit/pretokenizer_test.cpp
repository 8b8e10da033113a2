#include "pretokenizer.h"

#include <boost/test/unit_test.hpp>

#include "spnl/modelkit/error.h"

using namespace spnl::modelkit;

namespace {

using Words = std::vector<std::string>;

Words split(const Pretokenizer& pretokenizer, const std::string& text) {
  Words words;
  size_t from = 0;
  for (const size_t to : pretokenizer.split(text)) {
    BOOST_REQUIRE(to > from);
    BOOST_REQUIRE(to <= text.size());
    words.push_back(text.substr(from, to - from));
    from = to;
  }
  BOOST_REQUIRE_EQUAL(from, text.size());
  return words;
}

void check(const char* name, const std::string& text, const Words& want) {
  BOOST_TEST_CONTEXT(name << ": " << text) {
    const Words got = split(Pretokenizer(name), text);
    BOOST_TEST(got == want, boost::test_tools::per_element());
  }
}

const char* const kNames[] = {
    "gpt-2",       "phi-2",         "mpt",
    "olmo",        "jais",          "llama-bpe",
    "llama3",      "llama-v3",      "falcon3",
    "falcon-h1",   "pixtral",       "lfm2",
    "dbrx",        "smaug-bpe",     "qwen2",
    "qwen35",      "hunyuan",       "deepseek-r1-qwen",
    "tekken",      "stablelm2",     "gpt-4o",
    "llama4",      "kanana2",       "minimax-m2",
    "starcoder",   "refact",        "command-r",
    "smollm",      "codeshell",     "exaone",
    "minerva-7b",  "glm4",          "falcon",
    "chatglm-bpe", "deepseek-llm",  "default",
    "kimi-k2",     "deepseek-v3",   "deepseek-coder",
    "afmoe",       "hunyuan-dense", "bloom",
    "seed-coder",  "minicpm5",      "bailingmoe",
    "exaone-moe",  "viking",        "chameleon",
    "youtu",
};

}  // namespace

BOOST_AUTO_TEST_CASE(gpt2_words) {
  check("gpt-2", "Hello world's  end!!  \n", {"Hello", " world", "'s", " ", " end", "!!", "  \n"});
  check("gpt-2", "I'LL we'll 3.14", {"I", "'", "LL", " we", "'ll", " 3", ".", "14"});
}

BOOST_AUTO_TEST_CASE(llama3_and_qwen2_differ_in_digits) {
  check("llama-bpe", "I'LL pay 12345.\n\n x",
        {"I", "'LL", " pay", " ", "123", "45", ".\n\n", " x"});
  check("qwen2", "I'll pay 123", {"I", "'ll", " pay", " ", "1", "2", "3"});
  check("llama-bpe", "\n \n  a", {"\n \n", " ", " a"});
  check("llama-bpe", "'\xC5\xBFi", {"'\xC5\xBF", "i"});  // long s folds to s
  check("qwen35", "e\xCC\x81t", {"e\xCC\x81t"});
  check("qwen2", "e\xCC\x81t", {"e", "\xCC\x81t"});
}

BOOST_AUTO_TEST_CASE(two_cases) {
  check("tekken", "HelloWorld ABCdef 12", {"Hello", "World", " ABCdef", " ", "1", "2"});
  check("gpt-4o", "HelloWorld's 1234/\n", {"Hello", "World's", " ", "123", "4", "/\n"});
  check("gpt-4o", "\xC3\x89T\xC3\xA9",
        {"\xC3\x89T\xC3\xA9"});  // capitals in other scripts are capitals
  check("kimi-k2",
        "abc\xE4\xB8\xAD\xE6\x96\x87"
        "def  \xE4\xB8\xAD",
        {"abc", "\xE4\xB8\xAD\xE6\x96\x87", "def", " ", " ", "\xE4\xB8\xAD"});
}

BOOST_AUTO_TEST_CASE(several_passes) {
  check("starcoder", "a12 b", {"a", "1", "2", " b"});
  check("falcon", "a12345, b", {"a", "123", "45", ",", " b"});
  check("default", "x+12345", {"x", "+", "123", "45"});
  check("deepseek-llm", "ab 12\nc\xE4\xB8\xAD, d  ",
        {"ab", " ", "12", "\n", "c", "\xE4\xB8\xAD", ",", " d", "  "});
  check("deepseek-coder", "ab 12\n x", {"ab", " ", "1", "2", "\n", " x"});
  check("deepseek-v3", "ab1234 \xE4\xB8\xAD!x ?",
        {"ab", "123", "4", " ", "\xE4\xB8\xAD", "!x", " ?"});
  check("afmoe", "a12345 1", {"a", "12", "345", " ", "1"});
}

BOOST_AUTO_TEST_CASE(white_space_is_the_unicode_property) {
  check("gpt-2", "a\xC2\xA0\xC2\x85", {"a", "\xC2\xA0\xC2\x85"});
  check("gpt-2", "\xE1\xA0\x8E", {"\xE1\xA0\x8E"});
  check("llama-bpe", "a \xE1\xA0\x8E", {"a", " \xE1\xA0\x8E"});  // U+180E is none
}

BOOST_AUTO_TEST_CASE(bytes_that_are_no_text_are_words_of_their_own) {
  check("gpt-2",
        "ab\xFF\xFE"
        "cd \xE2\x82",
        {"ab", "\xFF\xFE", "cd", " ", "\xE2\x82"});
}

BOOST_AUTO_TEST_CASE(flags) {
  BOOST_TEST(Pretokenizer("llama-bpe").ignore_merges());
  BOOST_TEST(Pretokenizer("llama-bpe").add_bos());
  BOOST_TEST(Pretokenizer("glm4").ignore_merges());
  BOOST_TEST(!Pretokenizer("glm4").add_bos());
  BOOST_TEST(!Pretokenizer("qwen2").ignore_merges());
}

BOOST_AUTO_TEST_CASE(unknown_names_are_refused) {
  for (const char* name : {"", "nonsense", "gpt", "gpt-2 phi-2", " ", "llama-bpe "}) {
    BOOST_CHECK_EXCEPTION(Pretokenizer{name}, Error,
                          [](const Error& e) { return e.code() == ErrorCode::kUnsupported; });
  }
}

// A quadratic search would take minutes here, and recursion would end the process.
BOOST_AUTO_TEST_CASE(long_runs_stay_linear_in_every_recipe) {
  Words texts;
  const size_t n = 1 << 17;
  for (const char* unit : {"a", "A", " ", "\n", "7", "!", "\xF0\x9F\xA6\x99", "\xE4\xB8\xAD",
                           "e\xCC\x81", " \t\r\n", "'", "a ", "\xFF", "Aa", "\x01"}) {
    std::string text;
    while (text.size() < n) text += unit;
    texts.push_back(text);
    texts.push_back(text + "x");
  }
  for (const char* name : kNames) {
    const Pretokenizer pretokenizer(name);
    for (const std::string& text : texts)
      BOOST_REQUIRE_EQUAL(pretokenizer.split(text).back(), text.size());
  }
}
