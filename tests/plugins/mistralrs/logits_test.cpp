#include <boost/test/unit_test.hpp>

#include "fixtures.h"
#include "ops/cpu/isa.h"

using namespace spnl::mistralrs;
using namespace spnl::mistralrs::test;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> isas() {
  std::vector<std::string> names;
  for (const cpu::Isa isa : cpu::supported_isas()) names.emplace_back(cpu::isa_name(isa));
  return names;
}

Settings small(const std::string& isa, int threads = 2) {
  Settings s;
  s.isa = isa;
  s.threads = threads;
  s.kv_bytes = 32 << 20;
  return s;
}

void check(const fs::path& model_path, const fs::path& expected_path, const std::string& isa,
           double tolerance) {
  if (!fs::exists(model_path) || !fs::exists(expected_path)) {
    BOOST_TEST_MESSAGE("skipped, not here: " << model_path);
    return;
  }
  const auto model = load(model_path, small(isa));
  const auto prompts = read_expected(expected_path);
  BOOST_TEST(!prompts.empty());
  for (const Expected& e : prompts) {
    const double off = off_by(last_logits(*model, e.ids), e.logits);
    BOOST_TEST_MESSAGE(model_path.filename().string()
                       << " " << e.name << " " << isa << ": off by " << off);
    BOOST_TEST(off <= tolerance, model_path.filename().string()
                                     << " " << e.name << " with " << isa << " is off by " << off);
  }
}

const fs::path kShared = fs::path(SPNL_SHARED_DIR) / "fixtures";

}  // namespace

// Tolerances: fixtures/MANIFEST.md. Every architecture, from GGUF and from folders.
BOOST_AUTO_TEST_CASE(float_weights_agree_with_the_oracle) {
  auto all = isas();
  all.push_back("reference");
  if (!fs::exists(kShared)) {
    BOOST_TEST_MESSAGE("skipped, not here: " << kShared);
    return;
  }
  for (const auto& entry : fs::directory_iterator(kShared / "hf")) {
    const std::string name = entry.path().filename().string();
    if (name == "llama-bf16") continue;
    // The GGUF files of these were checked against an engine whose GELU is a table.
    const bool is_gelu =
        name.starts_with("phi") || name.starts_with("gemma") || name == "starcoder2";
    for (const std::string& isa : all)
      check(entry.path(), entry.path() / "expected.json", isa, 1e-3);
    const fs::path gguf = kShared / "gguf" / (name + ".gguf");
    if (fs::exists(gguf)) check(gguf, entry.path() / "expected.json", "", is_gelu ? 3e-3 : 1e-3);
  }
}

BOOST_AUTO_TEST_CASE(bfloat16_weights_agree_with_the_oracle) {
  for (const std::string& isa : isas())
    check(kShared / "gguf/llama-bf16.gguf", kShared / "hf/llama-bf16/expected.json", isa, 1e-2);
}

BOOST_AUTO_TEST_CASE(quantised_weights_agree_with_the_oracle) {
  for (const std::string& isa : isas())
    for (const char* type : {"F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K",
                             "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS"})
      check(kShared / "quant" / ("llama-256-" + std::string(type) + ".gguf"),
            kShared / "quant" / ("llama-256-" + std::string(type) + ".expected.json"), isa, 0.05);
}

// Through the registered torch operators, quantised weights are dequantised exactly: a float
// tolerance holds.
BOOST_AUTO_TEST_CASE(reference_ops_are_exact_on_quantised_weights) {
  for (const char* type : {"Q4_1", "Q6_K"})
    check(kShared / "quant" / ("llama-256-" + std::string(type) + ".gguf"),
          kShared / "quant" / ("llama-256-" + std::string(type) + ".expected.json"), "reference",
          1e-3);
}

BOOST_AUTO_TEST_CASE(weights_quantised_at_load_stay_near_the_oracle) {
  const fs::path folder = fs::path(SPNL_TEST_FIXTURES_DIR) / "gguf";
  for (std::string isa : {"scalar", "reference"}) {
    Settings settings = small(isa);
    const auto plain = load(folder / "llama-bf16.gguf", settings);
    settings.isq = spnl::modelkit::TensorType::kQ8_0;
    const auto quantised = load(folder / "llama-bf16.gguf", settings);
    for (const Expected& e : read_expected(folder / "llama-bf16.expected.json")) {
      const std::vector<float> logits = last_logits(*quantised, e.ids);
      BOOST_TEST(off_by(logits, e.logits) <= 0.05, isa << " " << e.name);
      BOOST_TEST((logits != last_logits(*plain, e.ids)));
    }
  }
}

// Matrices packed by other tools: unpacked a few rows at a time, some with their inputs in another
// order.
BOOST_AUTO_TEST_CASE(gptq_and_awq_agree_with_the_oracle) {
  for (const char* name : {"gptq-4-32", "gptq-4-32-act-v2", "gptq-8-64-act", "awq-32"}) {
    const fs::path path = kShared / "gptq" / name;
    check(path, path / "expected.json", "", 0.05);
    check(path, path / "expected.json", "reference", 1e-3);
  }
}

BOOST_AUTO_TEST_CASE(committed_model_agrees_with_the_oracle) {
  const fs::path folder = fs::path(SPNL_TEST_FIXTURES_DIR) / "gguf";
  BOOST_TEST_REQUIRE(fs::exists(folder / "llama-bf16.gguf"));
  for (const std::string& isa : isas())
    check(folder / "llama-bf16.gguf", folder / "llama-bf16.expected.json", isa, 1e-2);
}

// The committed model: CPU kernels against the registered torch operators.
BOOST_AUTO_TEST_CASE(cpu_ops_agree_with_reference_ops) {
  const fs::path path = fs::path(SPNL_TEST_FIXTURES_DIR) / "gguf/llama-bf16.gguf";
  BOOST_TEST_REQUIRE(fs::exists(path));
  std::vector<int32_t> ids;
  for (int i = 0; i < 150; ++i) ids.push_back(3 + (i * 37) % 200);
  const auto want = last_logits(*load(path, small("reference")), ids);
  for (const std::string& isa : isas())
    for (const int threads : {1, 3})
      BOOST_TEST(off_by(last_logits(*load(path, small(isa, threads)), ids), want) < 1e-5);
}
