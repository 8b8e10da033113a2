// Block and blend against two oracles that must agree before they judge: one dense forward, and a
// forward for each fragment. SPNL_SPAN_TREES: how many random trees, for longer runs.
#include <algorithm>
#include <cstdlib>

#include "fragment_oracle.h"
#include "random_model.h"
#include "span_client.h"

using namespace spnl::mistralrs;
using namespace spnl::mistralrs::test;
using spnl::modelkit::ModelSpec;
namespace fs = std::filesystem;

namespace {

size_t tree_count() {
  const char* given = std::getenv("SPNL_SPAN_TREES");
  return given != nullptr ? std::strtoul(given, nullptr, 10) : 60;
}

class Oracles {
 public:
  explicit Oracles(const ModelSpec& spec) : dense_(spec), fragments_(spec) {}

  /// Log-probabilities after the prompt.
  std::vector<float> logprobs(const SpanPrompt& prompt, const SpanRequest& spans, bool long_rope) {
    const auto want = dense_.logits(SpanOracle(prompt, spans).rows(), long_rope);
    const double apart = off_by(fragments_.logits(prompt, spans, long_rope), want);
    BOOST_TEST_REQUIRE(apart < 1e-5, "the oracles disagree by " << apart);
    return log_softmax(want);
  }

 private:
  DenseForward dense_;
  FragmentOracle fragments_;
};

SpanRequest random_request(Random& random, const SpanPrompt& prompt) {
  const SpanMode mode = random() % 2 == 0 ? SpanMode::kBlend : SpanMode::kBlock;
  return spans_of(prompt, mode, random() % 20, static_cast<SpanContext>(random() % 4));
}

struct Setup {
  cpu::KvType type;
  const char* name;
};
constexpr Setup kTypes[] = {{cpu::KvType::kF32, "f32"},
                            {cpu::KvType::kF16, "f16"},
                            {cpu::KvType::kBF16, "bf16"},
                            {cpu::KvType::kQ8_0, "q8_0"}};

/// What rounding keys and values costs on a model, as the largest difference to the oracle in
/// shares of its logits' range: of exact prompts, and of such whose fragments are moved.
struct Rounding {
  double fresh = 0, moved = 0;
  int prompts = 0;  // exact ones
};

/// Too few exact prompts would say little about what is usual.
constexpr int kExactPrompts = 4;

size_t best(const std::vector<float>& values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

/// The likeliest token is the oracle's where that is ahead by more than both may be off.
bool same_best(const std::vector<float>& got, const std::vector<float>& want, double tolerance) {
  const auto [low, high] = std::minmax_element(want.begin(), want.end());
  const float ahead = *high - want[best(got)];
  return ahead <= 2 * tolerance * (*high - *low);
}

}  // namespace

// Random trees of spans, nested, in all modes and contexts, with tails, glue, duplicates and empty
// fragments, on models of all kinds of attention with all types of keys and values. What rounding
// may cost is what it costs an exact prompt on the same model.
BOOST_AUTO_TEST_CASE(block_and_blend_are_what_the_oracles_say) {
  const auto models = random_models(spnl::modelkit::TensorType::kF32);
  Random random(1);
  std::vector<std::unique_ptr<Oracles>> oracles;
  for (const auto& [name, spec] : models) oracles.push_back(std::make_unique<Oracles>(spec));
  std::map<std::pair<std::string, std::string>, Rounding> costs;
  for (size_t tree = 0; tree < tree_count(); ++tree) {
    const size_t which = tree % models.size();
    const auto& [name, spec] = models[which];
    const Setup& setup = kTypes[tree / models.size() % std::size(kTypes)];
    constexpr int32_t kBlockSizes[] = {1, 8, 16, 32};
    Settings settings = exact_numbers(kBlockSizes[random() % std::size(kBlockSizes)]);
    settings.kv_type = setup.type;
    settings.threads = 1;
    const auto model = load(spec, settings);
    const auto longest = static_cast<size_t>(3 * settings.block_size + 1);
    const SpanPrompt prompt = random_prompt(
        random, {.depth = 3, .fragments = 12, .tokens = longest, .prompt_tokens = 250});
    const SpanRequest spans = random_request(random, prompt);
    const bool long_rope = model->turns_long(std::ssize(prompt.ids));
    Asker asker(*model);
    const Answer cold = asker.ask(prompt, spans), warm = asker.ask(prompt, spans);
    BOOST_TEST((warm.logprobs == cold.logprobs), "tree " << tree << ", " << name);
    const auto want = oracles[which]->logprobs(prompt, spans, long_rope);
    Rounding& cost = costs[{name, setup.name}];
    cost.moved = std::max(cost.moved, off_by(cold.logprobs, want));
    for (SpanPrompt plain = prompt; cost.prompts < kExactPrompts || plain.ids == prompt.ids;
         plain = random_prompt(random, {.tokens = longest, .prompt_tokens = 250})) {
      const SpanRequest exact = spans_of(plain, SpanMode::kExact);
      const auto fresh =
          oracles[which]->logprobs(plain, exact, model->turns_long(std::ssize(plain.ids)));
      cost.fresh = std::max(cost.fresh, off_by(asker.ask(plain, exact).logprobs, fresh));
      ++cost.prompts;
    }
    BOOST_TEST(same_best(cold.logprobs, want, 2 * cost.fresh + 1e-5),
               "tree " << tree << ", " << name);
    BOOST_TEST(blocks_in_use(*model) == 0);
  }
  for (const auto& [what, cost] : costs)
    BOOST_TEST(cost.moved <= 2 * cost.fresh + 2e-6,
               what.first << ", " << what.second << ": off by " << cost.moved
                          << ", exact prompts by " << cost.fresh);
}

// The fixtures: windows, latents, sinks, partial and interleaved rotation, yarn, long ropes, layers
// without, as real architectures combine them.
BOOST_AUTO_TEST_CASE(every_kind_of_attention_reads_moved_fragments) {
  const fs::path folders = fs::path(SPNL_SHARED_DIR) / "fixtures/hf";
  if (!fs::exists(folders)) {
    BOOST_TEST_MESSAGE("skipped, not here: " << folders);
    return;
  }
  Settings settings = exact_numbers(16);
  settings.threads = 1;
  for (const auto& entry : fs::directory_iterator(folders)) {
    Random random(2);
    const std::string name = entry.path().filename().string();
    const auto model = load(entry.path(), settings);
    Oracles oracles(model->bundle().spec);
    for (int round = 0; round < 3; ++round) {
      const SpanPrompt prompt =
          round < 2 ? random_prompt(random, {.depth = 2}) : documents({3, 0, 2}, 21);
      const SpanRequest spans = spans_of(prompt, round == 1 ? SpanMode::kBlend : SpanMode::kBlock,
                                         7, SpanContext::kPreamble);
      const auto want = oracles.logprobs(prompt, spans, model->turns_long(std::ssize(prompt.ids)));
      const double off = off_by(Asker(*model).ask(prompt, spans).logprobs, want);
      BOOST_TEST(off < 4e-4, name << ", round " << round << ": off by " << off);
    }
  }
}
