// spnl-host run: reads a query, evaluates it, shows its result.
#include "command.h"
#include "model_options.h"
#include "query_json.h"
#include "run_observer.h"
#include "run_source.h"
#include "spnl/evaluator.h"
#include "spnl/print.h"

namespace spnl::host {
namespace {

/// --prompt answers every question; else the person at the terminal does.
std::optional<std::string> ask_person(const Arguments& args, Terminal& terminal,
                                      const std::string& prompt, std::stop_token stop) {
  if (auto answer = args.get("prompt")) return answer;
  return terminal.ask(prompt, stop);
}

EvaluateOptions evaluate_options(const Arguments& args, Terminal& terminal, std::stop_token stop) {
  EvaluateOptions options;
  options.default_model = model_option(args);
  options.defaults = sampling_options(args);
  options.default_max_tokens = options.defaults.max_tokens;
  options.default_temperature = options.defaults.temperature;
  options.seed = options.defaults.seed.value_or(0);
  options.defaults.seed
      .reset();  // the run's seed is mixed with each node's place, not given to each as it is
  options.load = load_options(args);
  options.ask = [&args, &terminal, stop](const std::string& prompt) {
    return ask_person(args, terminal, prompt, stop);
  };
  return options;
}

/// Ends the line of what was streamed, or prints the result whole.
void show_result(const std::string& text, const RunObserver& observer, Terminal& terminal) {
  const std::string& streamed = observer.streamed();
  if (streamed.empty()) {
    terminal.generated(text);
  } else if (text.size() > streamed.size() && text.compare(0, streamed.size(), streamed) == 0) {
    terminal.generated(std::string_view(text).substr(streamed.size()));
  }
  terminal.end_generated();
}

int run(Invocation& invocation) {
  const Arguments& args = invocation.args;
  Terminal& terminal = invocation.terminal;
  EvaluateOptions options = evaluate_options(args, terminal, invocation.interrupt.token());
  BackendsOptions found = backends_options(args, terminal);
  auto limit = args.real_number("timeout", 0.001, 1e6);
  Query query = read_query(args, [&](const std::string& text) { terminal.note(text); });
  if (args.has("show-query")) {
    terminal.result((args.has("json") ? query_json(query) : print_lisp(query)) + "\n");
    return kExitDone;
  }
  if (args.has("verbose")) terminal.line(print_lisp(query));

  bool json = args.has("json");
  std::optional<std::string> streaming;
  if (!json && streaming_wanted()) streaming = streaming_node(query);
  RunObserver observer(terminal, streaming);
  invocation.interrupt.graceful();
  std::optional<TimeLimit> time_limit;
  if (limit) time_limit.emplace(invocation.interrupt, std::chrono::duration<double>(*limit));
  try {
    Backends backends(std::move(found));
    Query result = evaluate(query, backends, options, observer, invocation.interrupt.token());
    if (json)
      terminal.result(query_json(result) + "\n");
    else
      show_result(result_text(result), observer, terminal);
  } catch (const Error& error) {
    if (!observer.streamed().empty()) terminal.end_generated();
    bool late = error.code() == ErrorCode::kInterrupted && time_limit && time_limit->reached();
    if (late)
      throw Error(ErrorCode::kInterrupted, "the time limit is reached",
                  "--timeout " + *args.get("timeout"), "give more time");
    throw;
  }
  if (args.has("time")) terminal.line(times_table(observer.times()));
  return kExitDone;
}

}  // namespace

Command run_command() {
  return {
      "run",
      "Evaluates a query and prints its result.",
      "(-c QUERY | -f FILE.spnl | -) [options]",
      kGeneral | kBackend | kModel | kSampling,
      {{"command", 'c', "QUERY", "the query itself"},
       {"file", 'f', "FILE", "a file that holds it; - reads standard input"},
       {"builtin", 'b', "NAME", "a query that comes with the program (in a later version)"},
       {"model", 'm', "M", "for generates that name none, and the symbol `model` (SPNL_MODEL)"},
       {"prompt", 'p', "TEXT", "bind the symbol `prompt`"},
       {"n", 'n', "N", "bind the symbol `n` (default 5)"},
       {"chunk-size", 'k', "N", "bind the symbol `chunk_size`"},
       {"embedding-model", 'e', "M", "bind the symbol `embedding_model` (SPNL_EMBEDDING_MODEL)"},
       {"set", 0, "NAME=VALUE", "bind a symbol; a number, or text; may be repeated", true},
       {"timeout", 0, "SECONDS", "stop after this long, with exit code 130"},
       {"show-query", 's', "", "print the query as it is read, and stop"}},
      1,
      "Options of sampling hold for generates that give none. When one generation makes the whole "
      "result its tokens\n"
      "appear as they come, unless MISTRALRS_NO_STREAM is 1 or --json is given; --json prints the "
      "result's tree.",
      run};
}

}  // namespace spnl::host
