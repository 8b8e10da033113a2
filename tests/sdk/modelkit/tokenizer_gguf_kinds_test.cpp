// Vocabularies as GGUF files hold them, made of the fixtures whose ids the libraries gave.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "gguf_builder.h"
#include "json_fixture.h"
#include "tokenizer/base64.h"
#include "tokenizer/gguf_kinds.h"
#include "tokenizer/tokenizer_files.h"
#include "tokenizer_fixture.h"

using namespace spnl::modelkit;
namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;
using Value = JsonFixture::Value;

namespace {

const fs::path kFixtures = fs::path(SPNL_TEST_FIXTURES_DIR) / "tokenizers";

JsonFixture fixture(const std::string& name) {
  return JsonFixture(read_text_file(kFixtures / name).value(), name);
}

Ids ids_of(const Value& list) {
  Ids ids;
  for (const Value& id : list.GetArray()) ids.push_back(id.GetInt());
  return ids;
}

/// TokenizerData of the tokens in `v`.
template <typename Read>
std::unique_ptr<Tokenizer> build(TinyVocabulary& v, Read&& read) {
  const std::vector<std::string_view> tokens(v.tokens.begin(), v.tokens.end());
  const std::vector<std::string_view> merges(v.merges.begin(), v.merges.end());
  v.data.tokens = tokens;
  v.data.merges = merges;
  v.data.types = v.types;
  v.data.scores = v.scores;
  return make_pipeline_tokenizer(read(v.data));
}

TinyVocabulary vocabulary_of(const Value& model) {
  TinyVocabulary v;
  const auto& vocab = model["vocab"].GetObject();
  v.tokens.resize(vocab.MemberCount());
  v.types.resize(vocab.MemberCount(), 1);
  v.scores.resize(vocab.MemberCount());
  for (const auto& [text, id] : vocab) v.tokens[id.GetUint()] = view_of(text);
  return v;
}

std::unique_ptr<Tokenizer> from_file(const spnl::test::GgufBuilder& gguf) {
  const spnl::test::TempDir folder;
  return tokenizer_from_gguf(*GgufFile::open(folder.write("vocabulary.gguf", gguf.bytes())));
}

bool plain(std::string_view text) {
  for (const char* const added : {"<", "TOK", "café"})
    if (text.find(added) != std::string_view::npos) return false;
  return true;
}

}  // namespace

BOOST_AUTO_TEST_CASE(bert_marks_where_words_begin) {
  const JsonFixture file = fixture("wordpiece_bert.json");
  const JsonFixture texts = fixture("texts.json");
  TinyVocabulary v = vocabulary_of(file.root()["tokenizer"]["model"]);
  for (size_t id = 0; id < v.tokens.size(); ++id) {
    if (id < 5) {
      v.types[id] = 3;
    } else if (v.tokens[id].starts_with("##")) {
      v.tokens[id].erase(0, 2);
    } else {
      v.tokens[id].insert(0, "▁");
    }
  }
  v.data.unknown = 1;
  v.data.bos = 2;
  GgufExtras extras;
  extras.separator = 3;
  const auto t = build(v, [&](const TokenizerData& data) { return read_gguf_bert(data, extras); });
  for (rapidjson::SizeType i = 0; i < texts.root().Size(); ++i) {
    const std::string text(view_of(texts.root()[i]));
    if (text.size() > 60 && text.find(' ') == std::string::npos) continue;  // no longest word here
    BOOST_TEST_CONTEXT(text)
    BOOST_TEST(t->encode(text, {}) == ids_of(file.root()["cases"][i]["ids"]),
               boost::test_tools::per_element());
  }
  BOOST_TEST(t->decode(t->encode("hello world", {}), false) == "hello world");
}

BOOST_AUTO_TEST_CASE(t5_is_sentencepiece_s_unigram) {
  const std::string model =
      read_text_file(kFixtures / "sentencepiece_uni" / "tokenizer.model").value();
  const Pipeline parts = read_sentencepiece(model, "uni", {});
  TinyVocabulary v;
  for (int32_t id = 0; id < parts.vocabulary->size(); ++id) {
    const std::string text(parts.vocabulary->text(id));
    const bool user = text == "<tool>" || text == "TOK";
    v.add(text, id == 0 ? 2 : id < 3 ? 3 : user ? 4 : 1, parts.vocabulary->score(id));
  }
  const JsonFixture map = fixture("unigram_precompiled.json");  // the same one
  const std::string charsmap =
      from_base64(
          view_of(map.root()["tokenizer"]["normalizer"]["normalizers"][0]["precompiled_charsmap"]))
          .value();
  spnl::test::GgufBuilder gguf;
  gguf.string("tokenizer.ggml.model", "t5")
      .strings("tokenizer.ggml.tokens", v.tokens)
      .numbers("tokenizer.ggml.scores", spnl::test::kF64, v.scores)
      .numbers("tokenizer.ggml.token_type", spnl::test::kI64, v.types)
      .numbers("tokenizer.ggml.precompiled_charsmap", spnl::test::kU8,
               std::vector<uint8_t>(charsmap.begin(), charsmap.end()))
      .flag("tokenizer.ggml.remove_extra_whitespaces", true)
      .u32("tokenizer.ggml.unknown_token_id", 0)
      .u32("tokenizer.ggml.eos_token_id", 2);
  const auto t = from_file(gguf);
  const JsonFixture texts = fixture("texts.json"), cases = fixture("sentencepiece_uni/cases.json");
  for (rapidjson::SizeType i = 0; i < texts.root().Size(); ++i) {
    if (cases.root()[i]["ids"].IsNull()) continue;
    const std::string text(view_of(texts.root()[i]));
    BOOST_TEST_CONTEXT(text)
    BOOST_TEST(t->encode(text, {.add_special = false, .parse_special = false}) ==
                   ids_of(cases.root()[i]["ids"]),
               boost::test_tools::per_element());
  }
  BOOST_TEST(t->encode("", {}) == Ids({2}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(gemma4_merges_characters) {
  const JsonFixture file = fixture("sp_gemma.json");
  const JsonFixture texts = fixture("texts.json");
  const Value& model = file.root()["tokenizer"]["model"];
  TinyVocabulary v = vocabulary_of(model);
  for (size_t id = 0; id < 3; ++id) v.types[id] = 3;
  for (const Value& merge : model["merges"].GetArray())
    v.merges.push_back(std::string(view_of(merge[0])) + " " + std::string(view_of(merge[1])));
  v.data.unknown = 0;
  v.data.bos = 1;
  const auto t = build(v, [](const TokenizerData& data) { return read_gguf_gemma4(data); });
  for (rapidjson::SizeType i = 0; i < texts.root().Size(); ++i) {
    const std::string text(view_of(texts.root()[i]));
    if (!plain(text)) continue;
    BOOST_TEST_CONTEXT(text)
    BOOST_TEST(t->encode(text, {}) == ids_of(file.root()["cases"][i]["ids"]),
               boost::test_tools::per_element());
  }
  BOOST_TEST(t->adds_bos());
  BOOST_TEST(t->decode(t->encode(" a b", {}), false) == " a b");
}

BOOST_AUTO_TEST_CASE(a_whole_tokenizer_json_goes_before_the_lists) {
  spnl::test::GgufBuilder gguf;
  gguf.string("tokenizer.ggml.model", "gpt2")
      .strings("tokenizer.ggml.tokens", {"x", "y"})
      .u32("tokenizer.ggml.eos_token_id", 2)
      .string("tokenizer.huggingface.json",
              R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}})");
  const auto t = from_file(gguf);
  BOOST_TEST(t->encode("aba", {}) == Ids({2, 0}), boost::test_tools::per_element());
  BOOST_TEST(t->end_of_generation() == Ids({2}), boost::test_tools::per_element());
}
