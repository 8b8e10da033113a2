// Block and blend against a dense forward.
#include "span_client.h"

using namespace spnl::mistralrs;
using namespace spnl::mistralrs::test;
namespace fs = std::filesystem;

namespace {

/// Largest difference to the oracle, as a share of its logits' range.
double off_oracle(Model& model, const Answer& answer, const SpanPrompt& prompt,
                  const SpanRequest& spans) {
  const std::vector<DenseRow> rows = SpanOracle(prompt, spans).rows();
  const bool long_rope = model.turns_long(std::ssize(prompt.ids));
  std::vector<float> want = dense_logits(model.bundle().spec, rows, long_rope);
  double sum = 0;
  for (const float logit : want) sum += std::exp(double{logit});
  for (float& logit : want) logit -= static_cast<float>(std::log(sum));
  return off_by(answer.logprobs, want);
}

}  // namespace

// Random trees of spans, nested, in all contexts, with tails, glue, duplicates and empty fragments.
BOOST_AUTO_TEST_CASE(block_and_blend_are_what_a_dense_forward_says) {
  Random random(1);
  for (const int32_t block_size : {1, 8, 32}) {
    const auto model = load(kModel, exact_numbers(block_size));
    for (int round = 0; round < 14; ++round) {
      const bool blend = random() % 2 == 0;
      const SpanPrompt prompt = random_prompt(random, {.depth = blend ? 1 : 3});
      const auto context = static_cast<SpanContext>(random() % 4);
      const SpanRequest spans =
          spans_of(prompt, blend ? SpanMode::kBlend : SpanMode::kBlock, random() % 12, context);
      Asker asker(*model);
      const Answer cold = asker.ask(prompt, spans), warm = asker.ask(prompt, spans);
      const double off = off_oracle(*model, cold, prompt, spans);
      BOOST_TEST(off < 2e-4, "round " << round << ", block size " << block_size << ", context "
                                      << static_cast<int>(context) << (blend ? ", blend" : "")
                                      << ": off by " << off);
      BOOST_TEST((warm.logprobs == cold.logprobs), "round " << round);
    }
    BOOST_TEST(blocks_in_use(*model) == 0);
  }
}

// Windows, latents, sinks, partial and interleaved rotation, yarn, long ropes, layers without.
BOOST_AUTO_TEST_CASE(every_kind_of_attention_reads_moved_fragments) {
  const fs::path folders = fs::path(SPNL_SHARED_DIR) / "fixtures/hf";
  if (!fs::exists(folders)) {
    BOOST_TEST_MESSAGE("skipped, not here: " << folders);
    return;
  }
  for (const auto& entry : fs::directory_iterator(folders)) {
    Random random(2);
    const std::string name = entry.path().filename().string();
    const auto model = load(entry.path(), exact_numbers(16));
    for (int round = 0; round < 3; ++round) {
      const bool blend = round % 2 == 1;
      const SpanPrompt prompt =
          round < 2 ? random_prompt(random, {.depth = blend ? 1 : 2}) : documents({3, 0, 2}, 21);
      const SpanRequest spans =
          spans_of(prompt, blend ? SpanMode::kBlend : SpanMode::kBlock, 7, SpanContext::kPreamble);
      Asker asker(*model);
      const double off = off_oracle(*model, asker.ask(prompt, spans), prompt, spans);
      BOOST_TEST(off < 4e-4, name << ", round " << round << ": off by " << off);
    }
  }
}
