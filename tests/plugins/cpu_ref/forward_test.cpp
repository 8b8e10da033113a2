// The forward against results of an independent implementation (shared/fixtures, one small copy in
// tests/fixtures).
#include "forward.h"

#include <rapidjson/document.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <numeric>

#include "gguf_builder.h"
#include "model.h"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/quantize_file.h"
#include "spnl/modelkit/safetensors.h"

namespace fs = std::filesystem;
using namespace spnl::cpu_ref;
namespace mk = spnl::modelkit;

namespace {

/// Weights and forward alone: what is tested here needs no tokenizer.
struct Loaded {
  explicit Loaded(const fs::path& path, uint32_t threads = 2, uint64_t limit = uint64_t{1} << 30)
      : spec(read_spec(path)),
        pool(threads),
        weights(spec, limit,
                {[](uint64_t bytes) { return std::malloc(bytes); }, [](void* p) { std::free(p); }},
                pool, [](uint64_t, uint64_t) {}),
        transformer(spec, weights, pool) {}

  std::vector<float> logits_after(std::span<const int32_t> ids, KvCache& cache) const {
    const std::vector<float> hidden = transformer.forward(ids, cache);
    std::vector<float> logits(spec.vocab_size);
    transformer.logits(std::span(hidden).last(spec.hidden_size), logits);
    return logits;
  }

  /// `path`: a GGUF file, or a folder's config.
  mk::ModelSpec read_spec(const fs::path& path) {
    if (path.extension() == ".json") {
      auto folder = mk::SafetensorsFolder::open(path.parent_path());
      mk::ModelSpec read = mk::model_spec_from_folder(*folder, mk::Config::read(path));
      tensors = std::move(folder);
      return read;
    }
    auto file = mk::GgufFile::open(path);
    mk::ModelSpec read = mk::model_spec_from_gguf(*file);
    tensors = std::move(file);
    return read;
  }

  std::unique_ptr<mk::TensorSource> tensors;
  mk::ModelSpec spec;
  ThreadPool pool;
  Weights weights;
  Transformer transformer;
};

template <class T>
std::vector<T> numbers(const rapidjson::Value& list) {
  std::vector<T> out;
  for (const auto& value : list.GetArray()) out.push_back(static_cast<T>(value.GetDouble()));
  return out;
}

int32_t best(const std::vector<float>& logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

rapidjson::Document read_json(const fs::path& path) {
  std::ifstream in(path);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  rapidjson::Document json;
  json.Parse(text.c_str());
  BOOST_TEST_REQUIRE(json.IsObject(), path.string());
  return json;
}

void check_logits(const std::vector<float>& logits, const rapidjson::Value& prompt) {
  const auto want = numbers<float>(prompt["logits"]);
  BOOST_TEST_REQUIRE(logits.size() == want.size());
  const auto [low, high] = std::minmax_element(want.begin(), want.end());
  float worst = 0;
  for (size_t i = 0; i < want.size(); ++i) worst = std::max(worst, std::abs(logits[i] - want[i]));
  BOOST_TEST(worst <= 1e-3f * (*high - *low), "logits off by " << worst / (*high - *low));
}

void check_greedy(const Loaded& loaded, std::vector<float> logits, KvCache& cache,
                  const std::vector<int32_t>& want) {
  std::vector<int32_t> greedy;
  while (greedy.size() < want.size()) {
    greedy.push_back(best(logits));
    logits = loaded.logits_after(std::span(greedy).last(1), cache);
  }
  BOOST_TEST(greedy == want, boost::test_tools::per_element());
}

void check_model(const fs::path& model, const fs::path& expected) {
  const rapidjson::Document json = read_json(expected);
  const Loaded loaded(model);
  for (const auto& prompt : json["prompts"].GetArray()) {
    KvCache cache;
    const auto logits = loaded.logits_after(numbers<int32_t>(prompt["ids"]), cache);
    check_logits(logits, prompt);
    check_greedy(loaded, logits, cache, numbers<int32_t>(prompt["greedy"]));
  }
}

/// Whole, in two pieces of a known length, and token by token: all are the same sequence.
void check_tiny_model(const fs::path& model, const fs::path& expected) {
  const rapidjson::Document json = read_json(expected);
  const Loaded loaded(model);
  for (const auto& prompt : json["prompts"].GetArray()) {
    const auto ids = numbers<int32_t>(prompt["ids"]);
    KvCache whole, pieces, singly;
    check_logits(loaded.logits_after(ids, whole), prompt);
    loaded.transformer.forward(std::span(ids).first(4), pieces, ids.size());
    check_logits(loaded.logits_after(std::span(ids).subspan(4), pieces), prompt);
    std::vector<float> last;
    for (const int32_t id : ids) last = loaded.logits_after(std::span(&id, 1), singly);
    check_logits(last, prompt);
  }
}

const fs::path kSmall = fs::path(SPNL_TEST_FIXTURES_DIR) / "gguf/llama-bf16.gguf";

}  // namespace

BOOST_AUTO_TEST_CASE(committed_model) {
  check_model(kSmall, fs::path(SPNL_TEST_FIXTURES_DIR) / "gguf/llama-bf16.expected.json");
}

/// Made by make_models.py: each architecture as a folder with the keys of transformers 5 and of 4,
/// some as GGUF.
BOOST_AUTO_TEST_CASE(tiny_models_of_every_architecture) {
  int checked = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(SPNL_TEST_FIXTURES_DIR) / "models")) {
    for (const char* name : {"config.json", "config.v4.json", "model.gguf"}) {
      const fs::path model = entry.path() / name;
      if (!fs::exists(model)) continue;
      ++checked;
      BOOST_TEST_CONTEXT(model.string()) {
        try {
          check_tiny_model(model, entry.path() / "expected.json");
        } catch (const mk::Error& error) {
          BOOST_ERROR(error.what());
        }
      }
    }
  }
  BOOST_TEST(checked >= 60);
}

namespace {

/// A tokenizer of the first `rows` letters, for models that come without one.
std::string tokenizer_of(int rows) {
  std::string vocab;
  for (int id = 0; id < rows; ++id)
    vocab += (id == 0 ? "\"" : ",\"") + std::string(1, static_cast<char>('A' + id)) +
             "\":" + std::to_string(id);
  return R"({"added_tokens":[],"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},)"
         R"("decoder":{"type":"ByteLevel"},"model":{"type":"BPE","vocab":{)" +
         vocab + R"(},"merges":[]}})";
}

/// Writes the folder as GGUF in floats; returns why it was refused.
std::string write_gguf(const fs::path& folder, const fs::path& out) {
  mk::QuantizeOptions options;
  options.mix = *mk::find_quant_mix("F32");
  options.threads = 2;
  try {
    BOOST_TEST(mk::quantize_folder(folder, out, options));
    return "";
  } catch (const mk::Error& error) {
    BOOST_TEST((error.code() == mk::ErrorCode::kUnsupported), error.what());
    BOOST_TEST(!fs::exists(out));
    return error.what();
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(folders_written_as_gguf_give_the_same_logits) {
  // What GGUF files cannot say, or what is not written yet.
  const std::map<std::string, std::string> refused = {
      {"gemma2", "attention scale"},
      {"gemma3", "attention scale"},
      {"gemma3-inside", "attention scale"},
      {"qwen2", "window"},  // of some layers only
      {"olmo3", "window"},  // layers that slide in an order of their own
      {"cohere2", "window"},
      {"smollm3", "rope frequency"},  // layers without positions, likewise
      {"phi", "q norm"},
      {"phimoe", "long rope magnitude"}};
  int written = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(SPNL_TEST_FIXTURES_DIR) / "models")) {
    const std::string name = entry.path().filename();
    BOOST_TEST_CONTEXT(name) {
      const spnl::test::TempDir folder;
      for (const char* file : {"config.json", "model.safetensors"})
        fs::copy_file(entry.path() / file, folder.path() / file);
      folder.write("tokenizer.json", tokenizer_of(8));
      const fs::path out = folder.path() / "out.gguf";
      const std::string why = write_gguf(folder.path(), out);
      const auto expected = refused.find(name);
      BOOST_TEST(why.find(expected == refused.end() ? "" : expected->second) != why.npos, why);
      BOOST_TEST(why.empty() == (expected == refused.end()), why);
      if (!why.empty()) continue;
      check_tiny_model(out, entry.path() / "expected.json");
      ++written;
    }
  }
  BOOST_TEST(written >= 18);
}

BOOST_AUTO_TEST_CASE(shared_folders_written_as_gguf) {
  const fs::path root = fs::path(SPNL_SHARED_DIR) / "fixtures/hf";
  if (!fs::exists(root)) {
    BOOST_TEST_MESSAGE("no shared fixtures: skipped");
    return;
  }
  int written = 0;
  for (const auto& entry : fs::directory_iterator(root)) {
    const spnl::test::TempDir folder;
    const fs::path out = folder.path() / "out.gguf";
    BOOST_TEST_CONTEXT(entry.path().filename().string()) {
      if (!write_gguf(entry.path(), out).empty()) continue;
      check_model(out, entry.path() / "expected.json");
      ++written;
    }
  }
  BOOST_TEST(written >= 26);
}

BOOST_AUTO_TEST_CASE(shared_models) {
  const fs::path root = fs::path(SPNL_SHARED_DIR) / "fixtures";
  if (!fs::exists(root)) {
    BOOST_TEST_MESSAGE("no shared fixtures: skipped");
    return;
  }
  std::vector<std::pair<fs::path, fs::path>> models;  // and what is expected of them
  for (const char* folder : {"hf", "gptq"})
    for (const auto& entry : fs::directory_iterator(root / folder))
      models.emplace_back(entry.path() / "config.json", entry.path() / "expected.json");
  for (const auto& entry : fs::directory_iterator(root / "gguf"))
    models.emplace_back(entry.path(), root / "hf" / entry.path().stem() / "expected.json");
  for (const auto& entry : fs::directory_iterator(root / "quant"))
    if (entry.path().extension() == ".gguf")
      models.emplace_back(entry.path(), fs::path(entry.path()).replace_extension(".expected.json"));
  BOOST_TEST(models.size() >= 65u);
  for (const auto& [model, expected] : models) {
    BOOST_TEST_CONTEXT(model.string()) {
      try {
        check_model(model, expected);
      } catch (const mk::Error& error) {
        BOOST_ERROR(error.what());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(grouping_and_threads_change_no_bit) {
  const Loaded one(kSmall, 1), three(kSmall, 3);
  std::vector<int32_t> ids(100);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 37 % 512);
  KvCache all, singly, odd;
  const auto want = one.logits_after(ids, all);
  std::vector<float> got;
  for (const int32_t id : ids) got = three.logits_after(std::span(&id, 1), singly);
  BOOST_TEST((got == want));
  three.logits_after(std::span(ids).first(33), odd);
  BOOST_TEST((three.logits_after(std::span(ids).subspan(33), odd) == want));
  BOOST_TEST(odd.ids.size() == 100u);
}

BOOST_AUTO_TEST_CASE(too_little_memory_is_said_with_numbers_before_allocating) {
  const Loaded fits(kSmall, 1, 600000);
  BOOST_CHECK_EXCEPTION(Loaded(kSmall, 1, 500000), mk::Error, [](const mk::Error& error) {
    return error.code() == mk::ErrorCode::kNoMemory &&
           std::string(error.what()).find("1 MB") != std::string::npos;
  });
}

BOOST_AUTO_TEST_CASE(a_window_hides_what_is_older) {
  Loaded loaded(kSmall);
  for (mk::LayerSpec& layer : loaded.spec.layers) layer.attention.window = 4;
  // With two layers of window 4, the last token depends on at most the 7 before it... and itself.
  std::vector<int32_t> a(20, 5), b(20, 5);
  b[0] = b[5] = b[12] = 9;
  KvCache ca, cb, cc;
  const auto logits = loaded.logits_after(a, ca);
  BOOST_TEST((loaded.logits_after(b, cb) == logits));
  b[13] = 9;
  BOOST_TEST((loaded.logits_after(b, cc) != logits));
}

BOOST_AUTO_TEST_CASE(helpers_of_scoring) {
  const std::vector<float> logits = {1, 3, 3, -INFINITY, NAN};
  BOOST_TEST(top_ids(logits, 4) == (std::vector<int32_t>{1, 2, 0, 3}),
             boost::test_tools::per_element());
  const std::vector<float> large = {1000, 1000};
  BOOST_TEST(std::abs(log_sum_exp(large) - (1000 + std::log(2.0))) < 1e-9);
}
