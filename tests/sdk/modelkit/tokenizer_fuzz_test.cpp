// Damaged tokenizer files: every one is read or refused with an Error, and what is read can be
// used.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "spnl/modelkit/error.h"
#include "tokenizer/tokenizer_files.h"
#include "tokenizer/tokenizer_json.h"

using namespace spnl::modelkit;
namespace fs = std::filesystem;

namespace {

const fs::path kFixtures = fs::path(SPNL_TEST_FIXTURES_DIR) / "tokenizers";
constexpr std::string_view kText =
    "Hello <s>  world\n\t12345 don't caf\xC3\xA9 e\xCC\x81 \xED\x95\x9C\xF0\x9F\x98\x80\xFF "
    "<tool>TOK";

/// Changes some bytes, cuts, doubles or swaps stretches.
std::string damage(std::string text, std::mt19937& random) {
  const auto below = [&](size_t n) { return n == 0 ? 0 : random() % n; };
  for (size_t n = 1 + below(4); n > 0 && !text.empty(); --n) {
    const size_t at = below(text.size()), size = below(std::min<size_t>(text.size() - at, 40)) + 1;
    constexpr std::string_view kLikely = "{}[]\",:0123456789-.eE\\utnfalser\xFF\x80";
    switch (below(7)) {
      case 0:
        text[at] = static_cast<char>(below(256));
        break;
      case 1:
        text.erase(at, size);
        break;
      case 2:
        text.insert(at, text.substr(at, size));
        break;
      case 3:
        text[at] = kLikely[below(kLikely.size())];
        break;
      case 4:
        text.insert(at, text.substr(below(text.size()), size));
        break;
      case 5:
        if (below(8) == 0) text.resize(at);
        break;
      default:
        for (size_t i = at; i < std::min(text.size(), at + 3); ++i)
          if (text[i] >= '0' && text[i] <= '9') text[i] = static_cast<char>('0' + below(10));
    }
  }
  return text;
}

void use(const Tokenizer& tokenizer) {
  const auto ids = tokenizer.encode(kText, {});
  const TextRange literal[] = {{3, 20}};
  const EncodedText marked = tokenizer.encode_marked(kText, literal, true);
  BOOST_REQUIRE_EQUAL(marked.ids.size(), marked.ends.size());
  BOOST_REQUIRE(std::is_sorted(marked.ends.begin(), marked.ends.end()));
  BOOST_REQUIRE(marked.ends.empty() || marked.ends.back() <= kText.size());
  for (const int32_t id : ids) tokenizer.piece(id, false);
  tokenizer.decode(ids, true);
}

template <typename Read>
void fuzz(const std::string& good, int rounds, uint32_t seed, Read&& read) {
  std::mt19937 random(seed);
  int accepted = 0;
  for (int i = 0; i < rounds; ++i) {
    std::string text = damage(good, random);
    try {
      use(*make_pipeline_tokenizer(read(std::move(text))));
      ++accepted;
    } catch (const Error&) {
    }
  }
  BOOST_TEST(accepted > 0);
  BOOST_TEST(accepted < rounds);
}

int rounds_of(int few) {  // more than in CI: SPNL_FUZZ_ROUNDS multiplies
  const char* const factor = std::getenv("SPNL_FUZZ_ROUNDS");
  return few * (factor == nullptr ? 1 : std::max(1, std::atoi(factor)));
}

}  // namespace

BOOST_AUTO_TEST_CASE(damaged_tokenizer_json) {
  uint32_t seed = 1;
  for (const char* const name : {"bl_roberta", "sp_llama2", "unigram_precompiled",
                                 "wordpiece_cased", "wordlevel", "bpe_suffix", "unigram_xlnet"}) {
    const std::string good = read_text_file(kFixtures / (std::string(name) + ".json")).value();
    // The fixture's first line, less the name of the member: a tokenizer.json.
    const size_t begin = good.find(':') + 1;
    fuzz(good.substr(begin, good.find(",\n\"cases\"") - begin), rounds_of(60), seed++,
         [](std::string text) {
           return read_tokenizer_json(JsonFile(std::move(text), "fuzz"), {});
         });
  }
}

BOOST_AUTO_TEST_CASE(damaged_sentencepiece_models) {
  for (const char* const name : {"sentencepiece_uni", "sentencepiece_bpe"}) {
    fuzz(read_text_file(kFixtures / name / "tokenizer.model").value(), rounds_of(300), 7,
         [](const std::string& text) { return read_sentencepiece(text, "fuzz", {}); });
  }
}

BOOST_AUTO_TEST_CASE(damaged_vocabularies_of_bytes) {
  fuzz(read_text_file(kFixtures / "tekken" / "tekken.json").value(), rounds_of(60), 8,
       [](std::string text) { return read_tekken(JsonFile(std::move(text), "fuzz"), {}); });
  fuzz(read_text_file(kFixtures / "tiktoken" / "qwen.tiktoken").value(), rounds_of(100), 9,
       [](const std::string& text) { return read_tiktoken(text, "fuzz", "qwen2", {}); });
}
