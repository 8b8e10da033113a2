// spnl-host bench: prefill and decode rates on synthetic prompts.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <numeric>

#include "bench_plan.h"
#include "bench_report.h"
#include "bench_round.h"
#include "command.h"
#include "model_options.h"

namespace spnl::host {
namespace {

/// Cheap settings first: what a time limit cuts off is then the least.
std::vector<size_t> by_cost(const BenchPlan& plan) {
  auto cost = [&](size_t i) {
    const BenchSetting& setting = plan.settings[i];
    return setting.sequences * (setting.tokens + (setting.decode ? plan.gen_tokens : 0));
  };
  std::vector<size_t> order(plan.settings.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return cost(a) < cost(b); });
  return order;
}

void keep(const BenchRates& rates, BenchFigures& figures) {
  if (rates.prefill_tok_s) figures.prefill.push_back(*rates.prefill_tok_s);
  if (rates.decode_tok_s) figures.decode.push_back(*rates.decode_tok_s);
  if (rates.first_token_s) figures.first_token.push_back(*rates.first_token_s);
}

/// Every setting once per round, so that whatever else the machine does meets all alike.
void measure(Model& model, BenchReport& report, Terminal& terminal, std::stop_token stop) {
  const BenchPlan& plan = report.plan;
  const uint64_t total = (plan.repeat + 1) * plan.settings.size();
  uint64_t done = 0, prompts = 0;
  bool warned = false;
  for (uint64_t round = 0; round <= plan.repeat; ++round)
    for (size_t i : by_cost(plan)) {
      terminal.progress("measuring", done++, total);
      const BenchSetting& setting = plan.settings[i];
      const BenchRates rates =
          measure_round(model,
                        {std::max<uint64_t>(setting.tokens, 1), plan.gen_tokens, setting.sequences,
                         setting.prefill, setting.decode},
                        prompts, stop);
      prompts += 2 * setting.sequences;
      keep(rates, report.figures[i]);
      if (rates.stopped_early && !warned)
        terminal.warning("the model stopped before --gen-tokens were made");
      warned |= rates.stopped_early;
    }
  report.complete = true;
}

/// From /proc: getrusage() counts what the process was before it became this program, too.
uint64_t peak_memory() {
  std::ifstream status("/proc/self/status");
  std::string word;
  uint64_t kibibytes = 0;
  while (status >> word)
    if (word == "VmHWM:") status >> kibibytes;
  return kibibytes * 1024;
}

std::string in_seconds(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%g s", value);
  return text;
}

void print(BenchReport& report, Model& model, const Invocation& invocation) {
  report.stats = model.stats();
  report.peak_bytes = peak_memory();
  invocation.terminal.progress("measuring", 1, 1);
  invocation.terminal.result(invocation.args.has("json") ? bench_json(report)
                                                         : bench_table(report));
}

/// Measures within the time limit and prints what there is, also when that is not all.
int measure_and_print(Model& model, BenchReport& report, Invocation& invocation) {
  TimeLimit limit(invocation.interrupt, std::chrono::duration<double>(report.plan.timeout));
  const std::string waited = in_seconds(report.plan.timeout);
  try {
    measure(model, report, invocation.terminal, invocation.interrupt.token());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInterrupted) throw;
    if (!report.empty()) print(report, model, invocation);
    if (!limit.reached() || invocation.interrupt.signalled()) throw;
    if (report.empty())
      throw Error(ErrorCode::kEvaluation, "no round ended within " + waited, "--timeout",
                  "give more time or fewer tokens");
    invocation.terminal.note("stopped after " + waited + "; --timeout gives more");
    return kExitDone;
  }
  print(report, model, invocation);
  return kExitDone;
}

int run(Invocation& invocation) {
  const Arguments& args = invocation.args;
  BenchReport report;
  report.model = required_model(args);
  report.plan = bench_plan(args);
  LoadOptions load = load_options(args);
  load.options["ignore_eos"] = "true";
  load.options.try_emplace("speculate", "off");  // synthetic text may repeat itself
  BackendsOptions options = backends_options(args, invocation.terminal);
  // A prompt found in a cache would measure the cache.
  options.config["MISTRALRS_PREFIX_CACHE_N"] = "0";

  invocation.interrupt.graceful();
  Backends backends(std::move(options));
  const auto begin = std::chrono::steady_clock::now();
  std::shared_ptr<Model> model = backends.load(report.model, load, invocation.interrupt.token());
  report.load_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  report.info = model->info();
  for (const std::string& line : fit_to_context(report.plan, report.info.context))
    invocation.terminal.note(line);
  report.figures.resize(report.plan.settings.size());
  return measure_and_print(*model, report, invocation);
}

}  // namespace

Command bench_command() {
  return {
      "bench",
      "Measures prefill and decode rates, the time to the first token, loading and memory.",
      "--model M [--prompt-tokens N,...] [--depth N,...] [--sequences N,...] [--gen-tokens 64] "
      "[--repeat 3] [--timeout 120] [--threads N] [--json]",
      kGeneral | kBackend | kModel,
      {{"prompt-tokens", 0, "N,...", "prefill of prompts of so many tokens"},
       {"depth", 0, "N,...", "decode after so many tokens (default: those of --prompt-tokens)"},
       {"sequences", 0, "N,...",
        "so many sequences that run together; rates are their sum (default 1)"},
       {"gen-tokens", 0, "N", "decode steps of each sequence (default 64)"},
       {"repeat", 0, "N", "measured rounds after one that warms up (default 3)"},
       {"timeout", 0, "SECONDS",
        "stop measuring after this long and print what there is (default 120)"}},
      0,
      "Without the first three options: prefill at 128, 512 and 2048 tokens, decode after 0, 512 "
      "and 2048, and decode of\n"
      "1, 4, 8 and 16 sequences after 128. With them: every length and depth with every number of "
      "sequences; 512 tokens\n"
      "when only --sequences is given. Prompts are synthetic tokens, new each time; caches of "
      "prefixes are off; the model\n"
      "does not stop at its end token. With one sequence the backend's own times count, with "
      "several the clock: prefill\n"
      "is the time until all prompts are evaluated, decode runs from the moment when all sequences "
      "decode until the first\n"
      "one ends. Ctrl-C prints what has been measured.",
      run};
}

}  // namespace spnl::host
