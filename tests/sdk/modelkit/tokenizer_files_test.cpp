// Tokenizers of every kind of file against ids of the libraries that define them: Hugging Face's
// tokenizers 0.23 (*.json), sentencepiece 0.2 and tiktoken 0.14, on texts.json.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "chat_template_source.h"
#include "gguf_builder.h"
#include "json_fixture.h"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/tokenizer.h"
#include "tokenizer/text_search.h"
#include "tokenizer/tokenizer_json.h"

using namespace spnl::modelkit;
namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;
using Value = JsonFixture::Value;

namespace {

const fs::path kFixtures = fs::path(SPNL_TEST_FIXTURES_DIR) / "tokenizers";
constexpr TokenizeOptions kPlain{.add_special = false, .parse_special = false};

std::string read(const fs::path& path) { return read_text_file(path).value(); }

std::vector<std::string> texts() {
  const JsonFixture file(read(kFixtures / "texts.json"), "texts.json");
  std::vector<std::string> all;
  for (const Value& text : file.root().GetArray()) all.emplace_back(view_of(text));
  return all;
}

Ids ids_of(const Value& list) {
  Ids ids;
  for (const Value& id : list.GetArray()) ids.push_back(id.GetInt());
  return ids;
}

std::unique_ptr<Tokenizer> from_json(std::string text) {
  return make_pipeline_tokenizer(read_tokenizer_json(JsonFile(std::move(text), "test"), {}));
}

/// Places ascend and stay inside the text, and marking nothing changes nothing.
void check_ends(const Tokenizer& tokenizer, const std::string& text, const Ids& ids) {
  const EncodedText marked = tokenizer.encode_marked(text, {}, true);
  BOOST_TEST(marked.ids == ids, boost::test_tools::per_element());
  BOOST_REQUIRE_EQUAL(marked.ids.size(), marked.ends.size());
  BOOST_TEST(std::is_sorted(marked.ends.begin(), marked.ends.end()));
  BOOST_TEST((marked.ends.empty() || marked.ends.back() <= text.size()));
}

constexpr char kTiny[] = R"({"added_tokens":[
  {"id":4,"content":"<s>","special":true,"lstrip":false,"rstrip":false,"single_word":false,"normalized":false},
  {"id":5,"content":"</s>","special":true,"lstrip":false,"rstrip":false,"single_word":false,"normalized":false},
  {"id":6,"content":"<|im_end|>","special":true,"lstrip":false,"rstrip":false,"single_word":false,"normalized":false}],
  "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"c":3},"merges":["a b"]}})";

}  // namespace

BOOST_AUTO_TEST_CASE(tokenizer_json_of_every_kind) {
  const auto all = texts();
  int files = 0;
  for (const auto& entry : fs::directory_iterator(kFixtures)) {
    if (entry.path().extension() != ".json" || entry.path().stem() == "texts") continue;
    const JsonFixture fixture(read(entry.path()), entry.path().string());
    const auto tokenizer = from_json(written(fixture.root()["tokenizer"]));
    const Value& cases = fixture.root()["cases"];
    BOOST_REQUIRE_EQUAL(cases.Size(), all.size());
    for (rapidjson::SizeType i = 0; i < cases.Size(); ++i) {
      BOOST_TEST_CONTEXT(entry.path().stem() << ": " << all[i]) {
        const Ids want = ids_of(cases[i]["ids"]);
        BOOST_TEST(tokenizer->encode(all[i], {}) == want, boost::test_tools::per_element());
        check_ends(*tokenizer, all[i], want);
        const bool has_plain = cases[i].HasMember("plain");
        if (has_plain && cases[i]["plain"].IsArray()) {
          BOOST_TEST(tokenizer->encode(all[i], kPlain) == ids_of(cases[i]["plain"]),
                     boost::test_tools::per_element());
        }
        if (!cases[i].HasMember("text")) {
          BOOST_TEST(tokenizer->decode(want, false) == all[i]);
        } else if (cases[i]["text"].IsString()) {
          BOOST_TEST(tokenizer->decode(want, false) == view_of(cases[i]["text"]));
        }
      }
    }
    ++files;
  }
  BOOST_TEST(files >= 15);
}

BOOST_AUTO_TEST_CASE(files_of_sentencepiece_tekken_and_tiktoken) {
  const auto all = texts();
  for (const char* const name : {"sentencepiece_uni", "sentencepiece_bpe", "tekken", "tiktoken"}) {
    const auto tokenizer = tokenizer_from_folder(kFixtures / name);
    const bool pieces = std::string_view(name).starts_with("sentencepiece");
    const TokenizeOptions options{.add_special = !pieces, .parse_special = false};
    const JsonFixture cases(read(kFixtures / name / "cases.json"), name);
    BOOST_REQUIRE_EQUAL(cases.root().Size(), all.size());
    for (rapidjson::SizeType i = 0; i < cases.root().Size(); ++i) {
      const Value& want = cases.root()[i]["ids"];
      if (want.IsNull()) continue;
      BOOST_TEST_CONTEXT(name << ": " << all[i]) {
        const Ids ids = tokenizer->encode(all[i], options);
        BOOST_TEST(ids == ids_of(want), boost::test_tools::per_element());
        if (!pieces) BOOST_TEST((tokenizer->decode(ids, false) == all[i]));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(tokens_are_found_as_their_options_say) {
  const JsonFixture file(read(kFixtures / "sp_llama2.json"), "sp_llama2");
  const auto t = from_json(written(file.root()["tokenizer"]));
  const std::string text = "a <|nothing|> x<mask>y";
  const size_t at = text.find("<mask>");
  const TextRange literal[] = {{at + 2, at + 3}};
  const Ids marked = t->encode_marked(text, literal, false).ids;
  BOOST_TEST(marked == t->encode(text, kPlain), boost::test_tools::per_element());
  BOOST_TEST(t->encode(text, {.add_special = false, .parse_special = true}).size() < marked.size());
  for (const int32_t id : marked) BOOST_TEST(!t->is_special(id));
}

BOOST_AUTO_TEST_CASE(nothing_is_put_before_a_continuation) {
  const auto all = texts();
  for (const auto& entry : fs::directory_iterator(kFixtures)) {
    if (entry.path().extension() != ".json" || entry.path().stem() == "texts") continue;
    const JsonFixture fixture(read(entry.path()), entry.path().string());
    const auto t = from_json(written(fixture.root()["tokenizer"]));
    for (const std::string& text : all) {
      BOOST_TEST_CONTEXT(entry.path().stem() << ": " << text) {
        const EncodedText marked = t->encode_continuation(text, {});
        BOOST_REQUIRE_EQUAL(marked.ids.size(), marked.ends.size());
        BOOST_TEST(std::is_sorted(marked.ends.begin(), marked.ends.end()));
        for (const int32_t id : marked.ids) BOOST_TEST((t->bos() != id || !t->adds_bos()));
      }
    }
    const Ids begins = t->encode("ab", kPlain), goes_on = t->encode_continuation("ab", {}).ids;
    const std::string name = entry.path().stem();
    if (name == "sp_llama2" || name == "sp_mistral_first") BOOST_TEST((begins != goes_on), name);
    std::string joined;
    for (const int32_t id : goes_on) joined += t->piece(id, false);
    if (name.starts_with("sp_") || name.starts_with("bl_")) BOOST_TEST(joined == "ab", name);
  }
}

BOOST_AUTO_TEST_CASE(pieces_join_to_the_text) {
  for (const char* const name : {"bl_llama3", "sp_llama2", "sp_gemma", "unigram_bytes"}) {
    const JsonFixture file(read(kFixtures / (std::string(name) + ".json")), name);
    const auto t = from_json(written(file.root()["tokenizer"]));
    std::string joined;
    for (const int32_t id : t->encode("Hello world, 日本", kPlain)) joined += t->piece(id, false);
    if (!joined.empty() && joined[0] == ' ') joined.erase(0, 1);
    BOOST_TEST(joined == "Hello world, 日本");
    BOOST_CHECK_THROW(t->piece(t->vocab_size(), true), Error);
    BOOST_CHECK_THROW(t->decode({-1}, true), Error);
  }
}

BOOST_AUTO_TEST_CASE(bytes_that_are_no_utf8) {
  const std::string bad = "a\xFF\xC3(\xE2\x82 b\xF0\x9F\x98";
  for (const char* const name : {"bl_llama3", "bl_roberta", "sp_llama2", "sp_mistral_first"}) {
    const JsonFixture file(read(kFixtures / (std::string(name) + ".json")), name);
    const auto t = from_json(written(file.root()["tokenizer"]));
    std::string decoded = t->decode(t->encode(bad, {}), false);
    if (decoded[0] == ' ') decoded.erase(0, 1);
    BOOST_TEST((decoded == bad));
  }
}

BOOST_AUTO_TEST_CASE(a_folder_says_what_begins_and_ends) {
  const spnl::test::TempDir folder;
  folder.write("tokenizer.json", kTiny);
  const auto load = [&] { return tokenizer_from_folder(folder.path()); };
  BOOST_TEST(load()->end_of_generation() == Ids({5, 6}), boost::test_tools::per_element());
  BOOST_TEST(!load()->bos().has_value());

  folder.write("config.json", R"({"bos_token_id": 4, "eos_token_id": 5})");
  BOOST_TEST(load()->end_of_generation() == Ids({5}), boost::test_tools::per_element());
  BOOST_TEST(load()->bos().value() == 4);
  folder.write("generation_config.json", R"({"eos_token_id": [6, 5, 99]})");
  BOOST_TEST(load()->end_of_generation() == Ids({5, 6}), boost::test_tools::per_element());

  folder.write("tokenizer_config.json", R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>",
    "add_bos_token": true, "add_eos_token": true, "unk_token": "c",
    "added_tokens_decoder": {"7": {"content": "<think>", "special": false}}})");
  const auto t = load();
  BOOST_TEST(t->adds_bos());
  BOOST_TEST(t->encode("abc<think>", {}) == Ids({4, 2, 3, 7, 5}), boost::test_tools::per_element());
  BOOST_TEST(t->is_special(3));  // it is called a special token there
  BOOST_TEST(!t->is_special(7));

  folder.write("tokenizer_config.json", R"({"bos_token": null})");
  BOOST_TEST(!load()->bos().has_value());
  folder.write("tokenizer_config.json", "{");
  BOOST_CHECK_THROW(load(), Error);
  fs::remove(folder.path() / "tokenizer_config.json");
  fs::remove(folder.path() / "tokenizer.json");
  BOOST_CHECK_EXCEPTION(load(), Error,
                        [](const Error& e) { return e.code() == ErrorCode::kNotFound; });
  folder.write("vocab.json", R"({"a":0,"b":1,"ab":2,"Ġ":3,"Ġab":4})");
  folder.write("merges.txt", "#version: 0.2\na b\nĠ ab\n");
  BOOST_TEST(load()->encode("ab ab", {}) == Ids({2, 4}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_folder_s_chat_template) {
  const spnl::test::TempDir folder;
  const auto render = [&] { return read_chat_template(folder.path())->render(R"({"x": 1})"); };
  BOOST_TEST(!read_chat_template(folder.path()));
  folder.write("tokenizer_config.json", R"({"chat_template": "one {{ x }}"})");
  BOOST_TEST(render() == "one 1");
  folder.write("tokenizer_config.json", R"({"chat_template": [{"name": "tool_use", "template": "t"},
    {"name": "default", "template": "d{{ x }}"}]})");
  BOOST_TEST(render() == "d1");
  folder.write("chat_template.json", R"({"chat_template": "j{{ x }}"})");
  BOOST_TEST(render() == "j1");
  folder.write("chat_template.jinja", "f{{ x }}");
  BOOST_TEST(render() == "f1");
  folder.write("chat_template.jinja", "{% if %}");
  BOOST_CHECK_EXCEPTION(render(), Error,
                        [](const Error& e) { return e.code() == ErrorCode::kInvalid; });
}

BOOST_AUTO_TEST_CASE(what_is_unknown_is_named) {
  const auto refuses = [](const char* part, ErrorCode code, std::string_view word) {
    const std::string text =
        std::string("{") + part + R"(,"model":{"type":"BPE","vocab":{"a":0}}})";
    BOOST_CHECK_EXCEPTION(from_json(text), Error, [&](const Error& e) {
      BOOST_TEST_CONTEXT(e.what())
      BOOST_TEST(std::string_view(e.what()).find(word) != std::string_view::npos);
      return e.code() == code;
    });
  };
  refuses(R"("normalizer":{"type":"Zalgo"})", ErrorCode::kUnsupported, "Zalgo");
  refuses(R"("pre_tokenizer":{"type":"Guess"})", ErrorCode::kUnsupported, "Guess");
  refuses(R"("decoder":{"type":"CTC"})", ErrorCode::kUnsupported, "CTC");
  refuses(R"("post_processor":{"type":"Odd"})", ErrorCode::kUnsupported, "Odd");
  refuses(R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"})",
          ErrorCode::kUnsupported, "(a");
  refuses(R"("normalizer":{"type":"Precompiled","precompiled_charsmap":"/////w=="})",
          ErrorCode::kCorrupt, "charsmap");
  BOOST_CHECK_THROW(from_json(R"({"model":{"type":"Tree","vocab":{}}})"), Error);
  BOOST_CHECK_THROW(from_json(R"({"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}})"),
                    Error);
  BOOST_CHECK_THROW(from_json(R"({"model":{"type":"BPE","vocab":{"a":999999999}}})"), Error);
  BOOST_CHECK_THROW(from_json(std::string(1 << 20, '[')), Error);
  BOOST_CHECK_THROW(from_json("{"), Error);
  BOOST_CHECK_THROW(from_json("[]"), Error);
}

BOOST_AUTO_TEST_CASE(expressions_mean_what_they_mean_in_ruby) {
  const auto matches = [](const char* pattern, std::string_view text) {
    std::string all;
    for (const TextPiece& piece : TextPattern(regex_from_oniguruma(pattern)).find_all(text))
      all.append("<").append(text.substr(piece.begin, piece.end - piece.begin)).append(">");
    return all;
  };
  BOOST_TEST(matches("\\p{N}{1,3}+", "1234567") == "<1234567>");  // repeats, and is not possessive
  BOOST_TEST(matches("[^\\r\\n]?+\\p{L}++", "ab cd") == "<ab>< cd>");
  BOOST_TEST(matches("[\\p{L}&&[^\\p{Han}]]+", "ab漢字c") == "<ab><c>");
  BOOST_TEST(matches("[^a-c&&[^b]]+", "abcd") == "<b><d>");
  BOOST_TEST(matches("[a[xy]]+", "axbya") == "<ax><ya>");
  BOOST_TEST(matches("\\h+", "xFf9g") == "<Ff9>");
  BOOST_TEST(matches("\\w+", "a_é\u0301 \u200d9") == "<a_é\u0301><9>");
  BOOST_TEST(matches("x$", "x\nxy\nx") == "<x><x>");
  BOOST_TEST(matches("(?m:a.b)", "a\nb") == "<a\nb>");
  BOOST_TEST(matches("a{,2}b", "aaab") == "<aab>");
  BOOST_TEST(matches("\\s+(?!\\S)|\\s+", "a   b") == "<  >< >");
  BOOST_TEST(matches("'(?i:s|t)", "'S 'ſ 'x") == "<'S><'ſ>");
  BOOST_CHECK_EXCEPTION(matches("(a+)+$", std::string(1 << 16, 'a') + "b"), Error,
                        [](const Error& e) { return e.code() == ErrorCode::kNoMemory; });
  for (const char* const pattern : {"(", "[a", "[]", "\\", "\\p{Nowhere}", "a\\p", "[a&&]"})
    BOOST_CHECK_THROW(regex_from_oniguruma(pattern), Error);
}

BOOST_AUTO_TEST_CASE(fixtures_of_models_know_their_prompts) {
  const fs::path folder = fs::path(SPNL_SHARED_DIR) / "fixtures" / "hf";
  if (!fs::is_directory(folder)) {
    BOOST_TEST_MESSAGE("skipped: " << folder << " is absent");
    return;
  }
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto t = tokenizer_from_folder(entry.path());
    const JsonFixture expected(read(entry.path() / "expected.json"), "expected.json");
    const std::string text(view_of(expected.root()["text"]));
    BOOST_TEST_CONTEXT(entry.path().filename()) {
      const Ids all = t->encode(text, {});
      const Ids first = ids_of(expected.root()["prompts"][0]["ids"]);
      BOOST_TEST(t->adds_bos());
      BOOST_TEST(t->end_of_generation() == Ids({2}), boost::test_tools::per_element());
      BOOST_TEST(t->decode(all, false).find(text.substr(text.find_first_not_of(' '))) !=
                 std::string::npos);
      BOOST_TEST_MESSAGE(t->decode(first, true));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_megabyte_takes_no_time) {
  std::string words;
  while (words.size() < (1 << 20)) words += "The quick brown fox, don't jump over 13 lazy dogs. ";
  for (const auto& entry : fs::directory_iterator(kFixtures)) {
    if (entry.path().extension() != ".json" || entry.path().stem() == "texts") continue;
    const JsonFixture fixture(read(entry.path()), entry.path().string());
    const auto t = from_json(written(fixture.root()["tokenizer"]));
    const std::string size(1 << 18, ' ');
    for (const std::string& text :
         {std::string(1 << 18, 'a'), size, std::string(1 << 18, '\n'), words.substr(0, 1 << 18)}) {
      BOOST_TEST(t->encode(text, {}).size() <= text.size() + 2);
    }
  }
}
