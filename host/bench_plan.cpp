#include "bench_plan.h"

#include <algorithm>
#include <thread>

namespace spnl::host {
namespace {

constexpr uint64_t kMostTokens = 1'000'000, kMostSequences = 1024;

using Numbers = std::vector<uint64_t>;

void add(BenchPlan& plan, const BenchSetting& setting) {
  for (BenchSetting& known : plan.settings)
    if (known.tokens == setting.tokens && known.sequences == setting.sequences) {
      known.prefill |= setting.prefill;
      known.decode |= setting.decode;
      return;
    }
  plan.settings.push_back(setting);
}

void add_all(BenchPlan& plan, const Numbers& prompts, const Numbers& depths,
             const Numbers& sequences) {
  for (uint64_t together : sequences) {
    for (uint64_t tokens : prompts) add(plan, {tokens, together, true, false});
    for (uint64_t tokens : depths) add(plan, {tokens, together, false, true});
  }
}

void add_overview(BenchPlan& plan) {
  add_all(plan, {128, 512, 2048}, {0, 512, 2048}, {1});
  add_all(plan, {}, {128}, {1, 4, 8, 16});
}

}  // namespace

BenchPlan bench_plan(const Arguments& args) {
  BenchPlan plan;
  plan.gen_tokens = args.unsigned_number("gen-tokens", 1, kMostTokens).value_or(64);
  plan.repeat = args.unsigned_number("repeat", 1, 1000).value_or(3);
  plan.timeout = args.real_number("timeout", 0.001, 1e6).value_or(120);
  plan.threads = args.unsigned_number("threads", 1, 1024)
                     .value_or(std::max(1u, std::thread::hardware_concurrency()));
  const auto prompts = args.unsigned_numbers("prompt-tokens", 1, kMostTokens),
             depths = args.unsigned_numbers("depth", 0, kMostTokens),
             sequences = args.unsigned_numbers("sequences", 1, kMostSequences);
  if (!prompts && !depths && !sequences) {
    add_overview(plan);
    return plan;
  }
  const Numbers lengths = prompts.value_or(depths ? Numbers{} : Numbers{512});
  add_all(plan, lengths, depths.value_or(lengths), sequences.value_or(Numbers{1}));
  return plan;
}

std::vector<std::string> fit_to_context(BenchPlan& plan, uint64_t context) {
  std::vector<std::string> notes;
  if (context < 2) return notes;
  auto shorten = [&](uint64_t& tokens, uint64_t most, const char* what) {
    if (tokens <= most) return;
    notes.push_back("the model's context is " + std::to_string(context) + " tokens: " +
                    std::to_string(most) + " " + what + " instead of " + std::to_string(tokens));
    tokens = most;
  };
  shorten(plan.gen_tokens, std::max<uint64_t>(context / 2, 1), "new tokens");
  // Evaluating the prompt yields one token more.
  const uint64_t most = std::max<uint64_t>(context - std::min(context, plan.gen_tokens + 1), 1);
  BenchPlan fitting = plan;
  fitting.settings.clear();
  for (BenchSetting setting : plan.settings) {
    shorten(setting.tokens, most, "tokens of prompt");
    add(fitting, setting);
  }
  plan = std::move(fitting);
  notes.erase(std::unique(notes.begin(), notes.end()), notes.end());
  return notes;
}

}  // namespace spnl::host
