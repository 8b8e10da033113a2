// spnl-host generate: one prompt, one model, without a query around it.
#include <chrono>

#include "command.h"
#include "completion_json.h"
#include "generation.h"
#include "input.h"
#include "model_options.h"
#include "times.h"

namespace spnl::host {
namespace {

constexpr double kDefaultTemperature = 0.6;  // the language's default for a generate

struct Loaded {
  std::shared_ptr<Model> model;
  double seconds = 0;
};

Prompt read_prompt(const Arguments& args) {
  const std::vector<std::string>& words = args.positional();
  if (args.has("prompt-ids")) {
    if (!words.empty() || args.has("system") || args.has("raw"))
      throw Error(ErrorCode::kUsage, "token ids stand alone", "--prompt-ids",
                  "leave out PROMPT, --system and --raw");
    return token_prompt(token_ids(*args.get("prompt-ids"), "--prompt-ids"));
  }
  if (words.empty())
    throw Error(ErrorCode::kUsage, "no prompt is given", "command line",
                "add it between quotes, or - to read standard input");
  if (args.has("raw") && args.has("system"))
    throw Error(ErrorCode::kUsage, "raw text has no system message", "--system",
                "leave out --raw or --system");
  std::string text = words[0] == "-" ? read_text("-", "PROMPT") : words[0];
  // Raw text is the whole prompt, control tokens included; a chat's user must not be able to write
  // those.
  return args.has("raw") ? raw_prompt(std::move(text), true)
                         : chat_prompt(args.get("system").value_or(""), std::move(text));
}

GenerateRequest make_request(const Arguments& args) {
  Sampling sampling = sampling_options(args);
  GenerateRequest request;
  request.temperature = static_cast<float>(sampling.temperature.value_or(kDefaultTemperature));
  request.seed = sampling.seed.value_or(0);
  request.max_tokens = static_cast<uint32_t>(sampling.max_tokens.value_or(0));
  request.stop = sampling.stop;
  if (sampling.top_k) request.top_k = static_cast<int32_t>(*sampling.top_k);
  if (sampling.top_p) request.top_p = static_cast<float>(*sampling.top_p);
  if (sampling.min_p) request.min_p = static_cast<float>(*sampling.min_p);
  if (sampling.repeat_penalty)
    request.repeat_penalty = static_cast<float>(*sampling.repeat_penalty);
  add_penalties(args, request);
  return request;
}

Loaded load_timed(Backends& backends, const std::string& name, const LoadOptions& options,
                  std::stop_token stop) {
  auto begin = std::chrono::steady_clock::now();
  Loaded loaded;
  loaded.model = backends.load(name, options, stop);
  loaded.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return loaded;
}

std::string as_json(const Completion& done, double load_seconds) {
  JsonText json;
  json.begin_object();
  write_completion(json, done);
  json.key("times").begin_object().key("load_s").rounded(load_seconds, 4);
  write_rates(json, done.usage);
  return json.end_object().end_object().str() + "\n";
}

/// Says why a generation ended before the model wanted to, where the options do not already say it.
void note_early_end(const Completion& done, uint32_t max_tokens, Terminal& terminal) {
  if (done.finish == FinishReason::kLength &&
      (max_tokens == 0 || done.usage.output_tokens < max_tokens))
    terminal.note("the model's context is full: the text ends early");
}

int run(Invocation& invocation) {
  const Arguments& args = invocation.args;
  Terminal& terminal = invocation.terminal;
  std::string name = required_model(args);
  GenerateRequest request = make_request(args);
  LoadOptions load = load_options(args);
  BackendsOptions options = backends_options(args, terminal);
  request.prompt = read_prompt(args);
  uint32_t max_tokens = *request.max_tokens;

  invocation.interrupt.graceful();
  Backends backends(std::move(options));
  Loaded loaded = load_timed(backends, name, load, invocation.interrupt.token());
  bool json = args.has("json"), stream = !json && streaming_wanted();
  std::function<void(const TokenEvent&)> on_tokens;
  if (stream) on_tokens = [&](const TokenEvent& event) { terminal.generated(event.text); };
  unsigned notes_before = terminal.logged_notes();
  std::vector<Completion> all =
      generate(*loaded.model, std::move(request), invocation.interrupt.token(), on_tokens);
  if (all.empty()) throw Error(ErrorCode::kEvaluation, "the backend answered nothing", name);
  const Completion& done = all.front();

  if (json && done.finish != FinishReason::kError) terminal.result(as_json(done, loaded.seconds));
  if (!json) {
    if (!stream) terminal.generated(done.text);
    if (done.finish != FinishReason::kError || !done.text.empty()) terminal.end_generated();
  }
  if (args.has("time")) terminal.line(times_table({{"generate", name, all}}));
  if (done.finish == FinishReason::kError) throw Error(ErrorCode::kEvaluation, done.error, name);
  if (done.finish == FinishReason::kCancelled)
    throw Error(ErrorCode::kInterrupted, "interrupted", name);
  // A backend that says so itself knows more about it.
  if (terminal.logged_notes() == notes_before) note_early_end(done, max_tokens, terminal);
  return kExitDone;
}

}  // namespace

Command generate_command() {
  return {
      "generate",
      "Answers one prompt with a model.",
      "--model M [--backend ID] [--system S] [--raw | --prompt-ids 1,2,3] [options] [PROMPT | -]",
      kGeneral | kBackend | kModel | kSampling,
      {{"system", 0, "S", "system message before the prompt"},
       {"raw", 0, "", "no chat template: the prompt is the model's input as it stands"},
       {"prompt-ids", 0, "IDS", "token ids as the model's whole input, like 1,2,3"}},
      1,
      "PROMPT is one argument; - reads it from standard input. Tokens appear as they come, unless\n"
      "MISTRALRS_NO_STREAM is 1 or --json is given. The default temperature is 0.6.",
      run};
}

}  // namespace spnl::host
