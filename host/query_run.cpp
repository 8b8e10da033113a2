#include "query_run.h"

#include "model_options.h"
#include "spnl/inspect.h"

namespace spnl::host {
namespace {

/// --prompt answers every question; else the person at the terminal does.
std::optional<std::string> ask_person(const Arguments& args, Terminal& terminal,
                                      const std::string& prompt, std::stop_token stop) {
  if (auto answer = args.get("prompt")) return answer;
  return terminal.ask(prompt, stop);
}

}  // namespace

EvaluateOptions evaluate_options(const Arguments& args, Terminal& terminal, std::stop_token stop) {
  EvaluateOptions options;
  options.default_model = model_option(args);
  options.defaults = sampling_options(args);
  add_penalties(args, options.request);
  add_spans(args, options);
  options.default_max_tokens = options.defaults.max_tokens;
  options.default_temperature = options.defaults.temperature;
  options.seed = options.defaults.seed.value_or(0);
  // The run's seed is mixed with each node's place, not given to each as it is.
  options.defaults.seed.reset();
  options.load = load_options(args);
  options.ask = [&args, &terminal, stop](const std::string& prompt) {
    return ask_person(args, terminal, prompt, stop);
  };
  return options;
}

std::vector<OptionSpec> retrieval_options() {
  return {{"index-dir", 0, "DIR", "where indexes are kept (default data/spnl)"},
          {"indexer", 'i', "NAME", "simple-embed-retrieve or raptor"},
          {"max-aug", 'x', "N", "most fragments for a document (SPNL_RAG_MAX_MATCHES, default 10)"},
          {"shuffle", 0, "", "put the fragments in random order"}};
}

void check_retrieval_options(const Arguments& args, const Query& query, Terminal& terminal) {
  args.unsigned_number("max-aug", 1, 1'000'000);
  const std::string indexer = args.get("indexer").value_or("raptor");
  if (indexer != "raptor" && indexer != "simple-embed-retrieve")
    throw Error(ErrorCode::kUsage, "no indexer '" + indexer + "'", "--indexer",
                "give simple-embed-retrieve or raptor");
  if (!retrieves(query)) return;
  std::string given;
  for (const OptionSpec& option : retrieval_options())
    if (args.has(option.name)) given += std::string(given.empty() ? "--" : ", --") + option.name;
  if (!given.empty())
    terminal.note(given + ": nothing yet, no retrieval backend is installed in this version");
}

}  // namespace spnl::host
