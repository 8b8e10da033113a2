#pragma once
#include <string>

#include "command.h"
#include "spnl/backends.h"
#include "spnl/evaluator.h"
#include "spnl/query.h"

namespace spnl::host {

/// --backend-path, --device, --threads, --speculate and the terminal, as Backends wants them.
/// `terminal` must outlive the Backends.
BackendsOptions backends_options(const Arguments& args, Terminal& terminal);

/// --device, --threads and --speculate as load options.
LoadOptions load_options(const Arguments& args);

/// --max-tokens, --temperature, ..., --stop; what is not given stays empty. Throws Error(kUsage)
/// for values out of range.
Sampling sampling_options(const Arguments& args);

/// What the language has no word for: --presence-penalty, --dry, --logit-bias, --min-tokens, ...
/// Throws Error(kUsage) likewise.
void add_penalties(const Arguments& args, GenerateRequest& request);

/// --spans, --span-context and --span-order or their environment variables, for generates that do
/// not say it themselves. Throws Error(kUsage) for words that do not exist.
void add_spans(const Arguments& args, EvaluateOptions& options);

/// --model (or SPNL_MODEL) behind the prefix of --backend; "" when none is given.
std::string model_option(const Arguments& args);
/// The same; Error(kUsage) when none is given.
std::string required_model(const Arguments& args);

/// An environment variable; nothing when unset or empty.
std::optional<std::string> environment(const char* name);

/// An option's value, which may be empty; when it is not given, that of its environment variable.
std::optional<std::string> option_or_environment(const Arguments& args, const char* option,
                                                 const char* variable);

/// MISTRALRS_NO_STREAM: results come once at the end.
bool streaming_wanted();

}  // namespace spnl::host
