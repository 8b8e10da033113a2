#include "run_source.h"

#include <filesystem>

#include "input.h"
#include "model_options.h"
#include "spnl/builtins.h"
#include "spnl/error.h"
#include "spnl/inspect.h"
#include "spnl/reader.h"

namespace spnl::host {
namespace {

// What the symbols are bound to when no option gives them.
constexpr double kSymbolN = 5, kSymbolTemperature = 0.5, kSymbolMaxTokens = 100,
                 kSymbolChunkSize = 4;

struct Source {
  std::string text, name, folder = ".";
  Spelling spelling = Spelling::kLisp;
};

Source read_file(const std::string& path) {
  Source source{read_text(path, "--file"), path, std::filesystem::path(path).parent_path().string(),
                spelling_of(path)};
  if (source.folder.empty()) source.folder = ".";
  return source;
}

Source nameless(std::string text, std::string name) {
  const Spelling spelling = guess_spelling(text);
  return {std::move(text), std::move(name), ".", spelling};
}

Source find_builtin(const std::string& name, const std::string& where) {
  std::vector<std::string> names;
  for (const Builtin& builtin : builtins()) {
    if (builtin.name == name) return {std::string(builtin.text), "builtin " + name};
    names.emplace_back(builtin.name);
  }
  std::string near = near_name(name, names);
  throw Error(ErrorCode::kUsage, "no builtin query '" + name + "'", where,
              near.empty() ? "see spnl-host list" : near);
}

Source find_source(const Arguments& args) {
  bool from_input = !args.positional().empty();
  if (from_input && args.positional()[0] != "-")
    throw Error(ErrorCode::kUsage, "unexpected argument '" + args.positional()[0] + "'",
                "command line",
                "give a query with -c QUERY, -f FILE, -b BUILTIN, or - for standard input");
  int sources = from_input ? 1 : 0;
  for (const char* option : {"command", "file", "builtin"}) sources += args.has(option) ? 1 : 0;
  if (sources > 1)
    throw Error(ErrorCode::kUsage, "more than one query is given", "command line",
                "give one of -c QUERY, -f FILE, -b BUILTIN, or - for standard input");
  if (args.has("command")) return nameless(*args.get("command"), "-c");
  if (from_input || args.get("file") == "-")
    return nameless(read_text("-", "QUERY"), "standard input");
  if (args.has("file")) return read_file(*args.get("file"));
  if (args.has("builtin")) return find_builtin(*args.get("builtin"), "--builtin");
  if (auto name = environment("SPNL_BUILTIN")) return find_builtin(*name, "SPNL_BUILTIN");
  throw Error(ErrorCode::kUsage, "no query is given", "command line",
              "give one of -c QUERY, -f FILE, -b BUILTIN, or - for standard input");
}

/// A number where the text is one; text between quotes stays text.
BindingValue binding_value(const std::string& text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"')
    return text.substr(1, text.size() - 2);
  if (auto number = to_real(text)) return *number;
  return text;
}

/// The documents of --document, to be read when the query is evaluated.
std::vector<Document> documents(const Arguments& args) {
  std::vector<Document> out;
  for (const std::string& path : args.all("document")) {
    check_file(path, "--document");
    out.push_back({path, Fetch{path, true, true}});
  }
  return out;
}

std::map<std::string, BindingValue> bindings(const Arguments& args) {
  std::map<std::string, BindingValue> out;
  if (args.has("document")) out["documents"] = documents(args);
  if (std::string model = model_option(args); !model.empty()) out["model"] = model;
  if (auto prompt = args.get("prompt")) out["prompt"] = *prompt;
  if (auto model = option_or_environment(args, "embedding-model", "SPNL_EMBEDDING_MODEL"))
    out["embedding_model"] = *model;
  auto size = args.unsigned_number("chunk-size", 1, 1'000'000);
  out["chunk_size"] = size ? static_cast<double>(*size) : kSymbolChunkSize;
  auto count = args.unsigned_number("n", 1, 1'000'000);
  out["n"] = count ? static_cast<double>(*count) : kSymbolN;
  Sampling sampling = sampling_options(args);
  out["temperature"] = sampling.temperature.value_or(kSymbolTemperature);
  out["max_tokens"] =
      sampling.max_tokens ? static_cast<double>(*sampling.max_tokens) : kSymbolMaxTokens;
  for (const std::string& setting : args.all("set")) {
    size_t equals = setting.find('=');
    if (equals == 0 || equals == std::string::npos)
      throw Error(ErrorCode::kUsage, "'" + setting + "' binds nothing", "--set",
                  "write name=value");
    out[setting.substr(0, equals)] = binding_value(setting.substr(equals + 1));
  }
  return out;
}

}  // namespace

std::vector<OptionSpec> query_options() {
  return {{"command", 'c', "QUERY", "the query itself"},
          {"file", 'f', "FILE",
           "a file that holds it: .json, .yaml and .yml by their names, else "
           "Lisp; - reads standard input"},
          {"builtin", 'b', "NAME", "a query that comes with the program, see list (SPNL_BUILTIN)"},
          {"model", 'm', "M", "for generates that name none, and the symbol `model` (SPNL_MODEL)"},
          {"prompt", 'p', "TEXT", "bind the symbol `prompt`, and answer what the query asks"},
          {"n", 'n', "N", "bind the symbol `n` (default 5)"},
          {"chunk-size", 'k', "N", "bind the symbol `chunk_size` (default 4)"},
          {"set", 0, "NAME=VALUE", "bind a symbol; a number, or text; may be repeated", true},
          {"reverse", 'r', "", "turn the order of independent parts (plus) round"},
          {"document", 'd', "FILE", "a document for the symbol `documents`; may be repeated", true},
          {"embedding-model", 'e', "M", "bind `embedding_model` (SPNL_EMBEDDING_MODEL)"}};
}

Query query_from_options(const Arguments& args, std::function<void(const std::string&)> on_note) {
  Source source = find_source(args);
  ReadOptions options;
  options.source_name = source.name;
  options.folder = source.folder;
  options.bindings = bindings(args);
  options.on_note = std::move(on_note);
  Query query = read_query(source.text, source.spelling, options);
  return args.has("reverse") ? with_plus_reversed(std::move(query)) : query;
}

}  // namespace spnl::host
