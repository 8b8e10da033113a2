// spnl-host explain: what becomes of a query before it runs. Loads no model.
#include "command.h"
#include "model_options.h"
#include "plan_output.h"
#include "query_run.h"
#include "run_source.h"

namespace spnl::host {
namespace {

enum class Stage { kRead, kSimplify, kPlan };

Stage stage_option(const Arguments& args) {
  const std::string name = args.get("stage").value_or("plan");
  if (name == "read") return Stage::kRead;
  if (name == "simplify") return Stage::kSimplify;
  if (name == "plan") return Stage::kPlan;
  throw Error(ErrorCode::kUsage, "no stage '" + name + "'", "--stage",
              "give read, simplify or plan");
}

int run(Invocation& invocation) {
  const Arguments& args = invocation.args;
  Terminal& terminal = invocation.terminal;
  if (args.has("time"))
    throw Error(ErrorCode::kUsage, "nothing runs whose times could be printed", "--time",
                "leave it out, or use run");
  const Stage stage = stage_option(args);
  const QueryForm form = query_form(args);
  const EvaluateOptions options = evaluate_options(args, terminal, invocation.interrupt.token());
  BackendsOptions found = backends_options(args, terminal);
  Query query = query_from_options(args, [&](const std::string& text) { terminal.note(text); });
  if (stage == Stage::kRead) {
    terminal.result(query_text(query, form));
    return kExitDone;
  }
  const Backends backends(std::move(found));
  const CapabilitiesOf capabilities = capabilities_of(backends);
  terminal.result(stage == Stage::kSimplify
                      ? query_text(simplify(std::move(query), capabilities), form)
                      : plan_text(plan(query, capabilities, options), form));
  return kExitDone;
}

}  // namespace

Command explain_command() {
  std::vector<OptionSpec> options = query_options();
  options.push_back({"stage", 0, "STAGE", "read, simplify or plan (the default)"});
  options.push_back({"to", 0, "FORM", "lisp (the default), json, yaml or tree"});
  return {
      "explain",
      "Shows a query as it is read, simplified or planned.",
      "(-c QUERY | -f FILE | -b BUILTIN | -) [--stage STAGE] [--to FORM] [options]",
      kGeneral | kBackend | kModel | kSampling | kSpans,
      std::move(options),
      1,
      "Nothing is loaded and nothing runs. The plan also says which generates run side by side, "
      "which wait for others,\n"
      "and which are the same and run once. --json is --to json.",
      run};
}

}  // namespace spnl::host
