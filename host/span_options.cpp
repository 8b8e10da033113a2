// How independent parts of prompts are evaluated.
#include <algorithm>
#include <initializer_list>

#include "model_options.h"

namespace spnl::host {
namespace {

struct Given {
  std::string value, where;
};

Given flag_or_environment(const Arguments& args, const char* flag, const char* variable) {
  return {option_or_environment(args, flag, variable).value_or(""),
          args.has(flag) ? "--" + std::string(flag) : variable};
}

std::string one_of(const Given& given, const char* what, std::initializer_list<const char*> known) {
  if (given.value.empty() && !given.where.starts_with("--")) return "";
  if (std::find(known.begin(), known.end(), given.value) != known.end()) return given.value;
  std::string hint;
  for (const char* const* word = known.begin(); word != known.end(); ++word)
    hint += std::string(word == known.begin()     ? "give "
                        : word + 1 == known.end() ? " or "
                                                  : ", ") +
            *word;
  throw Error(ErrorCode::kUsage, "'" + given.value + "' is no " + what, given.where, hint);
}

}  // namespace

void add_spans(const Arguments& args, EvaluateOptions& options) {
  const Given mode = flag_or_environment(args, "spans", "SPNL_SPANS");
  const bool given = !mode.value.empty() || args.has("spans");
  if (given && !is_span_mode(mode.value))
    throw Error(ErrorCode::kUsage, "'" + mode.value + "' is no way to evaluate spans", mode.where,
                "give exact, block, blend or blend:K");
  options.defaults.spans = mode.value;
  options.request.span_context =
      one_of(flag_or_environment(args, "span-context", "SPNL_SPAN_CONTEXT"), "context of spans",
             {"none", "bos", "preamble", "prefix", "lineage"});
  options.request.span_order = one_of(flag_or_environment(args, "span-order", "SPNL_SPAN_ORDER"),
                                      "order of spans", {"given", "canonical"});
}

}  // namespace spnl::host
