// spnl-host bench: prefill and decode rates on synthetic prompts.
#include <algorithm>
#include <chrono>
#include <thread>

#include "bench_round.h"
#include "command.h"
#include "json_text.h"
#include "model_options.h"

namespace spnl::host {
namespace {

struct BenchPlan {
  std::string name;
  uint64_t threads = 0, repeat = 3;
  BenchShape shape;
};

BenchPlan read_plan(const Arguments& args) {
  BenchPlan plan;
  plan.name = required_model(args);
  plan.shape.prompt_tokens = args.unsigned_number("prompt-tokens", 1, 1'000'000).value_or(512);
  plan.shape.gen_tokens = args.unsigned_number("gen-tokens", 1, 1'000'000).value_or(128);
  plan.shape.sequences = args.unsigned_number("sequences", 1, 1024).value_or(1);
  plan.repeat = args.unsigned_number("repeat", 1, 1000).value_or(3);
  plan.threads = args.unsigned_number("threads", 1, 1024)
                     .value_or(std::max(1u, std::thread::hardware_concurrency()));
  return plan;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void check_context(const Model& model, const BenchPlan& plan) {
  uint64_t needed = plan.shape.prompt_tokens + plan.shape.gen_tokens + 1,
           context = model.info().context;
  if (context > 0 && needed > context)
    throw Error(ErrorCode::kUsage,
                "the prompt and the new tokens need a context of " + std::to_string(needed) +
                    ", the model has " + std::to_string(context),
                plan.name, "lower --prompt-tokens or --gen-tokens");
}

std::string as_json(const BenchPlan& plan, const Model& model, double prefill, double decode,
                    double load_seconds) {
  std::string prefix = plan.name.substr(0, plan.name.find('/'));
  JsonText json;
  json.begin_object().key("engine").text("spnl " SPNL_VERSION " " + prefix);
  json.key("model").text(plan.name.substr(plan.name.rfind('/') + 1));
  json.key("prompt").whole(plan.shape.prompt_tokens).key("gen").whole(plan.shape.gen_tokens);
  json.key("threads").whole(plan.threads).key("sequences").whole(plan.shape.sequences);
  json.key("prefill_tok_s").rounded(prefill, 1).key("decode_tok_s").rounded(decode, 1);
  json.key("device")
      .text(model.info().device)
      .key("repeat")
      .whole(plan.repeat)
      .key("load_s")
      .rounded(load_seconds, 4);
  return json.end_object().str() + "\n";
}

std::string as_table(const BenchPlan& plan, const Model& model, double prefill, double decode) {
  char line[300];
  std::snprintf(line, sizeof line,
                "%s on %s, %llu threads, %llu sequences of %llu + %llu tokens, median of %llu\n"
                "prefill %10.1f tokens/s\ndecode  %10.1f tokens/s\n",
                plan.name.substr(0, 120).c_str(), model.info().device.substr(0, 20).c_str(),
                static_cast<unsigned long long>(plan.threads),
                static_cast<unsigned long long>(plan.shape.sequences),
                static_cast<unsigned long long>(plan.shape.prompt_tokens),
                static_cast<unsigned long long>(plan.shape.gen_tokens),
                static_cast<unsigned long long>(plan.repeat), prefill, decode);
  return line;
}

int run(Invocation& invocation) {
  const Arguments& args = invocation.args;
  BenchPlan plan = read_plan(args);
  LoadOptions load = load_options(args);
  load.options["ignore_eos"] = "true";
  load.options.try_emplace("speculate", "off");  // synthetic text may repeat itself
  BackendsOptions options = backends_options(args, invocation.terminal);
  options.config["MISTRALRS_PREFIX_CACHE_N"] =
      "0";  // a prompt found in a cache would measure the cache

  invocation.interrupt.graceful();
  Backends backends(std::move(options));
  auto begin = std::chrono::steady_clock::now();
  std::shared_ptr<Model> model = backends.load(plan.name, load, invocation.interrupt.token());
  double load_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  check_context(*model, plan);

  std::vector<double> prefill, decode;
  for (uint64_t round = 0; round <= plan.repeat; ++round) {
    invocation.terminal.progress("measuring", round, plan.repeat + 1);
    BenchRates rates = measure_round(*model, plan.shape, round, invocation.interrupt.token());
    if (round == 0) continue;  // warms up
    prefill.push_back(rates.prefill_tok_s);
    decode.push_back(rates.decode_tok_s);
    if (rates.stopped_early)
      invocation.terminal.warning("the model stopped before --gen-tokens were made");
  }
  invocation.terminal.progress("measuring", 1, 1);
  double prefill_rate = median(prefill), decode_rate = median(decode);
  invocation.terminal.result(args.has("json")
                                 ? as_json(plan, *model, prefill_rate, decode_rate, load_seconds)
                                 : as_table(plan, *model, prefill_rate, decode_rate));
  return kExitDone;
}

}  // namespace

Command bench_command() {
  return {"bench",
          "Measures prefill and decode rates.",
          "--model M [--prompt-tokens 512] [--gen-tokens 128] [--sequences 1] [--threads N] "
          "[--repeat 3] [--json]",
          kGeneral | kBackend | kModel,
          {{"prompt-tokens", 0, "N", "tokens of each prompt (default 512)"},
           {"gen-tokens", 0, "N", "decode steps of each sequence (default 128)"},
           {"sequences", 0, "N", "sequences that run together; rates are their sum (default 1)"},
           {"repeat", 0, "N",
            "measured rounds after one that warms up; the median counts (default 3)"}},
          0,
          "Prompts are synthetic tokens, new in each round; caches of prefixes are off; the model "
          "does not stop at its\n"
          "end token. With one sequence the backend's own times count, with several the clock: "
          "prefill is the time until\n"
          "all prompts are evaluated, decode runs from the moment when all sequences decode until "
          "the first one ends.",
          run};
}

}  // namespace spnl::host
