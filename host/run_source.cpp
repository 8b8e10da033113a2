#include "run_source.h"

#include <filesystem>
#include <limits>

#include "input.h"
#include "model_options.h"
#include "spnl/error.h"

namespace spnl::host {
namespace {

// What the symbols n, temperature and max_tokens are bound to when no option gives them.
constexpr double kSymbolN = 5, kSymbolTemperature = 0.5, kSymbolMaxTokens = 100;

struct Source {
  std::string text, name, folder = ".";
};

Source read_file(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension().string();
  for (const char* later : {".json", ".yaml", ".yml"})
    if (extension == later)
      throw Error(ErrorCode::kUsage, "queries in JSON and YAML come in a later version", path,
                  "write it as a .spnl file");
  Source source{read_text(path, "--file"), path,
                std::filesystem::path(path).parent_path().string()};
  if (source.folder.empty()) source.folder = ".";
  return source;
}

Source find_source(const Arguments& args) {
  bool from_input = !args.positional().empty();
  if (from_input && args.positional()[0] != "-")
    throw Error(ErrorCode::kUsage, "unexpected argument '" + args.positional()[0] + "'",
                "command line", "give a query with -c QUERY, -f FILE, or - for standard input");
  if (args.has("builtin"))
    throw Error(ErrorCode::kUsage, "builtin queries come in a later version", "--builtin",
                "write the query with -c or -f");
  int sources = (from_input ? 1 : 0) + (args.has("command") ? 1 : 0) + (args.has("file") ? 1 : 0);
  if (sources != 1)
    throw Error(ErrorCode::kUsage,
                sources == 0 ? "no query is given" : "more than one query is given", "command line",
                "give one of -c QUERY, -f FILE, or - for standard input");
  if (args.has("command")) return {*args.get("command"), "-c"};
  if (from_input || *args.get("file") == "-") return {read_text("-", "QUERY"), "standard input"};
  return read_file(*args.get("file"));
}

/// A number where the text is one; text between quotes stays text.
BindingValue binding_value(const std::string& text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"')
    return text.substr(1, text.size() - 2);
  if (auto number = to_real(text)) return *number;
  return text;
}

std::map<std::string, BindingValue> bindings(const Arguments& args) {
  std::map<std::string, BindingValue> out;
  if (std::string model = model_option(args); !model.empty()) out["model"] = model;
  if (auto prompt = args.get("prompt")) out["prompt"] = *prompt;
  if (auto model = args.has("embedding-model") ? args.get("embedding-model")
                                               : environment("SPNL_EMBEDDING_MODEL"))
    out["embedding_model"] = *model;
  if (auto size = args.unsigned_number("chunk-size", 1, 1'000'000))
    out["chunk_size"] = static_cast<double>(*size);
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

Query read_query(const Arguments& args, std::function<void(const std::string&)> on_note) {
  Source source = find_source(args);
  ReadOptions options;
  options.source_name = source.name;
  options.folder = source.folder;
  options.bindings = bindings(args);
  options.on_note = std::move(on_note);
  return read_lisp(source.text, options);
}

}  // namespace spnl::host
