// spnl-host run: reads a query, evaluates it, shows its result.
#include <chrono>

#include "command.h"
#include "model_options.h"
#include "plan_output.h"
#include "query_run.h"
#include "run_observer.h"
#include "run_result.h"
#include "run_source.h"
#include "spnl/print.h"

namespace spnl::host {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void contradiction(const std::string& what, const std::string& hint) {
  throw Error(ErrorCode::kUsage, what, "command line", hint);
}

void check_options(const Arguments& args) {
  const bool show = args.has("show-query"), dry = args.has("dry-run");
  if (show && dry)
    contradiction("--show-query and --dry-run both stop before anything runs", "give one of them");
  if (args.has("to") && !show)
    contradiction("--to says how --show-query prints the query", "add --show-query");
  for (const char* of_running : {"time", "keep-going", "timeout"})
    if ((show || dry) && args.has(of_running))
      contradiction(std::string("nothing runs that --") + of_running + " could mean",
                    "leave it out, or " + std::string(show ? "--show-query" : "--dry-run"));
}

std::string dry_run_text(const QueryPlan& plan, bool json) {
  if (json) return plan_text(plan, QueryForm::kJson);
  std::string out;
  for (const std::string& line : dry_run_lines(plan)) out += line + "\n";
  return out;
}

size_t samples_of(const QueryPlan& plan) {
  size_t samples = 0;
  for (const PlannedGenerate& planned : plan.generates) samples += planned.samples;
  return samples;
}

/// Evaluates and shows the result; returns the exit code.
int evaluate_and_show(Invocation& invocation, const Query& query, Backends& backends,
                      const EvaluateOptions& options, RunObserver& observer) {
  const Arguments& args = invocation.args;
  Terminal& terminal = invocation.terminal;
  const Clock::time_point begin = Clock::now();
  const Query result = evaluate(query, backends, options, observer, invocation.interrupt.token());
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  observer.settle();
  if (args.has("json"))
    terminal.result(result_json(result, observer, seconds));
  else
    show_result(result, observer, terminal);
  if (args.has("time")) terminal.line(times_table(observer.times(), seconds, args.has("verbose")));
  return observer.failures().empty() ? kExitDone : kExitFailed;
}

int run_timed(Invocation& invocation, const Query& query, Backends& backends,
              const EvaluateOptions& options, RunObserver& observer, std::optional<double> limit) {
  std::optional<TimeLimit> time_limit;
  if (limit) time_limit.emplace(invocation.interrupt, std::chrono::duration<double>(*limit));
  try {
    return evaluate_and_show(invocation, query, backends, options, observer);
  } catch (const Error& error) {
    observer.settle();
    if (!observer.streamed().empty()) invocation.terminal.end_generated();
    bool late = error.code() == ErrorCode::kInterrupted && time_limit && time_limit->reached();
    if (!late) throw;
    throw Error(ErrorCode::kInterrupted, "the time limit is reached",
                "--timeout " + *invocation.args.get("timeout"), "give more time");
  }
}

int run(Invocation& invocation) {
  const Arguments& args = invocation.args;
  Terminal& terminal = invocation.terminal;
  check_options(args);
  EvaluateOptions options = evaluate_options(args, terminal, invocation.interrupt.token());
  options.keep_going = args.has("keep-going");
  BackendsOptions found = backends_options(args, terminal);
  const auto limit = args.real_number("timeout", 0.001, 1e6);
  const bool json = args.has("json");
  const QueryForm form = query_form(args);

  const Query query =
      query_from_options(args, [&](const std::string& text) { terminal.note(text); });
  check_retrieval_options(args, query, terminal);
  if (args.has("show-query")) {
    terminal.result(query_text(query, form));
    return kExitDone;
  }
  if (args.has("verbose")) terminal.line(print_tree(query));

  invocation.interrupt.graceful();
  Backends backends(std::move(found));
  const QueryPlan planned = plan(query, capabilities_of(backends), options);
  if (args.has("dry-run")) {
    terminal.result(dry_run_text(planned, json));
    return kExitDone;
  }
  RunObserver::Shown shown;
  if (!json && streaming_wanted()) shown.streaming_node = streaming_node(query);
  shown.live_view = samples_of(planned) > 1 || !terminal.output_is_terminal();
  RunObserver observer(terminal, std::move(shown));
  return run_timed(invocation, query, backends, options, observer, limit);
}

std::vector<OptionSpec> options() {
  std::vector<OptionSpec> all = query_options();
  for (OptionSpec& option : retrieval_options()) all.push_back(option);
  for (const OptionSpec& option : std::initializer_list<OptionSpec>{
           {"timeout", 0, "SECONDS", "stop after this long, with exit code 130"},
           {"keep-going", 0, "", "finish what does not depend on a generation that failed"},
           {"dry-run", 0, "", "say what would be asked of which model, and stop"},
           {"show-query", 's', "", "print the query as it is read, and stop"},
           {"to", 0, "FORM", "how --show-query prints it: lisp (the default), json, yaml or tree"}})
    all.push_back(option);
  return all;
}

}  // namespace

Command run_command() {
  return {"run",
          "Evaluates a query and prints its result.",
          "(-c QUERY | -f FILE | -b BUILTIN | -) [options]",
          kGeneral | kBackend | kModel | kSampling | kSpans,
          options(),
          1,
          "Options of sampling hold for generates that give none. When one generation makes the "
          "whole result its tokens\n"
          "appear as they come, unless MISTRALRS_NO_STREAM is 1 or --json is given; with several, "
          "a terminal shows how\n"
          "far each is. --json prints the result's tree with ids, usage and finish reasons of each "
          "generation.",
          run};
}

}  // namespace spnl::host
