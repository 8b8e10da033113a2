// Tokenizers of folders in the terms of GGUF: the same ids on the texts of the fixtures.
#include "tokenizer/gguf_vocabulary.h"

#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "gguf_builder.h"
#include "json_file.h"
#include "json_fixture.h"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/tokenizer.h"
#include "tokenizer_fixture.h"

using namespace spnl::modelkit;
namespace fs = std::filesystem;

namespace {

const fs::path kFixtures = fs::path(SPNL_TEST_FIXTURES_DIR) / "tokenizers";

std::unique_ptr<Tokenizer> tokenizer_of(const GgufVocabulary& v) {
  TinyVocabulary tiny;
  tiny.tokens = v.tokens;
  tiny.merges = v.merges;
  tiny.types.assign(v.types.begin(), v.types.end());
  tiny.scores.assign(v.scores.begin(), v.scores.end());
  tiny.data.model = v.model;
  if (!v.pre.empty()) tiny.data.pre = v.pre;
  tiny.data.bos = v.bos;
  tiny.data.eos = v.eos;
  tiny.data.unknown = v.unknown;
  tiny.data.add_bos = v.add_bos;
  tiny.data.add_eos = v.add_eos;
  tiny.data.add_space_prefix = v.add_space_prefix;
  if (tiny.scores.empty()) tiny.scores.resize(tiny.tokens.size());
  return tiny.build();
}

/// Writes the tokenizer of a fixture into `folder`.
void copy_fixture(const std::string& name, const spnl::test::TempDir& folder) {
  const JsonFixture fixture(read_text_file(kFixtures / (name + ".json")).value(), name);
  folder.write("tokenizer.json", written(fixture.root()["tokenizer"]));
}

/// GGUF files have no place for the options of added tokens: blanks and words around them.
bool spells_added_token(std::string_view text) {
  for (const char* const part : {"<", "TOK", "café"})
    if (text.find(part) != text.npos) return true;
  return false;
}

void check_texts(const fs::path& folder, const GgufVocabulary& vocabulary) {
  const auto wanted = tokenizer_from_folder(folder), got = tokenizer_of(vocabulary);
  const JsonFixture texts(read_text_file(kFixtures / "texts.json").value(), "texts.json");
  for (const auto& text : texts.root().GetArray()) {
    const std::string plain(view_of(text));
    if (spells_added_token(plain)) continue;
    BOOST_TEST_CONTEXT(plain)
    BOOST_TEST(got->encode(plain, {}) == wanted->encode(plain, {}),
               boost::test_tools::per_element());
  }
}

std::string refusal(const std::string& name) {
  const spnl::test::TempDir folder;
  copy_fixture(name, folder);
  try {
    gguf_vocabulary_of_folder(folder.path(), 10);
  } catch (const Error& error) {
    BOOST_TEST((error.code() == ErrorCode::kUnsupported));
    return error.what();
  }
  return "";
}

}  // namespace

BOOST_AUTO_TEST_CASE(byte_level_and_byte_fallback) {
  const std::tuple<const char*, const char*, const char*> cases[] = {{"bl_llama3", "gpt2", "dbrx"},
                                                                     {"sp_llama2", "llama", ""}};
  for (const auto& [name, model, pre] : cases) {
    BOOST_TEST_CONTEXT(name) {
      const spnl::test::TempDir folder;
      copy_fixture(name, folder);
      const GgufVocabulary vocabulary = gguf_vocabulary_of_folder(folder.path(), 0);
      BOOST_TEST(vocabulary.model == model);
      BOOST_TEST(vocabulary.pre == pre);
      BOOST_TEST(vocabulary.types.size() == vocabulary.tokens.size());
      check_texts(folder.path(), vocabulary);
    }
  }
}

BOOST_AUTO_TEST_CASE(pieces_of_sentencepiece) {
  const GgufVocabulary vocabulary =
      gguf_vocabulary_of_folder(kFixtures / "sentencepiece_bpe", 5000);
  BOOST_TEST(vocabulary.model == "llama");
  BOOST_TEST(vocabulary.tokens.size() == 5000u);  // the embedding has rows without a token
  BOOST_TEST(vocabulary.tokens.back() == "[PAD4999]");
  BOOST_TEST(vocabulary.types.back() == 5);
  check_texts(kFixtures / "sentencepiece_bpe", vocabulary);
}

BOOST_AUTO_TEST_CASE(what_gguf_files_cannot_hold_is_refused) {
  BOOST_TEST(refusal("unigram_bytes").find("only BPE") != std::string::npos);
  BOOST_TEST(refusal("wordpiece_bert").find("only BPE") != std::string::npos);
  const spnl::test::TempDir folder;
  for (const char* const merges : {"[[1, 2]]", "[\"ab\"]", "[[[1]]]"}) {  // which nothing reads
    folder.write("tokenizer.json",
                 R"({"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "a",)"
                 R"( "byte_fallback": true, "merges": )" +
                     std::string(merges) + "}}");
    BOOST_CHECK_EXCEPTION(gguf_vocabulary_of_folder(folder.path(), 0), Error, [](const Error& e) {
      return std::string(e.what()).find("only BPE") != std::string::npos;
    });
  }
}
