#include "model_options.h"

#include <cstdlib>
#include <filesystem>
#include <limits>

namespace spnl::host {
namespace {

constexpr uint64_t kMostThreads = 1024;

std::string device_option(const Arguments& args) {
  std::string device = args.get("device").value_or("");
  if (device.empty() && args.has("device") == false) return "";
  for (const char* known : {"auto", "cpu", "cuda", "metal"})
    if (device == known) return device;
  throw Error(ErrorCode::kUsage, "'" + device + "' is not a device", "--device",
              "give auto, cpu, cuda or metal");
}

std::optional<std::string> threads_option(const Arguments& args) {
  if (auto threads = args.unsigned_number("threads", 1, kMostThreads))
    return std::to_string(*threads);
  return std::nullopt;
}

std::optional<std::string> speculate_option(const Arguments& args) {
  const std::optional<std::string> mode = args.get("speculate");
  if (!mode) return std::nullopt;
  for (const char* known : {"off", "ngram", "auto"})
    if (*mode == known) return mode;
  throw Error(ErrorCode::kUsage, "'" + *mode + "' is not a way to speculate", "--speculate",
              "give off, ngram or auto");
}

void set_cache_options(const Arguments& args, std::map<std::string, std::string>& config) {
  if (const auto type = args.get("kv-type")) {
    for (const char* known : {"auto", "f32", "f16", "bf16", "q8_0"})
      if (*type == known) config["kv_type"] = *type;
    if (!config.contains("kv_type"))
      throw Error(ErrorCode::kUsage, "'" + *type + "' is no type of keys and values", "--kv-type",
                  "give auto, f32, f16, bf16 or q8_0");
  }
  if (const auto size = args.get("kv-memory")) config["kv_memory"] = *size;
  const auto folder = option_or_environment(args, "span-cache", "SPNL_SPAN_CACHE");
  if (folder && folder->empty())
    throw Error(ErrorCode::kUsage, "the folder's name is empty", "--span-cache", "name a folder");
  if (folder) config["span_cache"] = std::filesystem::absolute(*folder).string();
  if (const auto most = option_or_environment(args, "span-cache-size", "SPNL_SPAN_CACHE_SIZE"))
    config["span_cache_size"] = *most;
}

}  // namespace

BackendsOptions backends_options(const Arguments& args, Terminal& terminal) {
  BackendsOptions options;
  for (const std::string& folder : args.all("backend-path"))
    options.explicit_paths.emplace_back(folder);
  if (std::string device = device_option(args); !device.empty())
    options.config["MISTRALRS_DEVICE"] = device;
  if (auto threads = threads_option(args)) options.config["threads"] = *threads;
  if (auto mode = speculate_option(args)) options.config["speculate"] = *mode;
  if (const auto limit = args.get("memory-limit")) options.config["SPNL_MEMORY_LIMIT"] = *limit;
  set_cache_options(args, options.config);
  options.log = [&terminal](LogLevel level, std::string_view component, std::string_view text) {
    terminal.log(level, component, text);
  };
  options.progress = [&terminal](std::string_view stage, uint64_t done, uint64_t total) {
    terminal.progress(stage, done, total);
  };
  return options;
}

LoadOptions load_options(const Arguments& args) {
  LoadOptions options;
  if (std::string device = device_option(args); device != "auto") options.device = device;
  if (auto threads = threads_option(args)) options.options["threads"] = *threads;
  if (auto mode = speculate_option(args)) options.options["speculate"] = *mode;
  return options;
}

Sampling sampling_options(const Arguments& args) {
  constexpr double kMost = 1e6;
  Sampling sampling;
  sampling.max_tokens = args.unsigned_number("max-tokens", 0, std::numeric_limits<uint32_t>::max());
  sampling.temperature = args.real_number("temperature", 0, kMost);
  sampling.seed = args.unsigned_number("seed", 0, std::numeric_limits<uint64_t>::max());
  if (auto top_k = args.unsigned_number("top-k", 0, std::numeric_limits<int32_t>::max()))
    sampling.top_k = static_cast<int64_t>(*top_k);
  sampling.top_p = args.real_number("top-p", 0, 1);
  sampling.min_p = args.real_number("min-p", 0, 1);
  sampling.repeat_penalty = args.real_number("repeat-penalty", 1e-6, kMost);
  sampling.stop = args.all("stop");
  for (const std::string& stop : sampling.stop)
    if (stop.empty())
      throw Error(ErrorCode::kUsage, "a stop text is empty", "--stop",
                  "give at least one character");
  return sampling;
}

std::string model_option(const Arguments& args) {
  std::string model = option_or_environment(args, "model", "SPNL_MODEL").value_or("");
  std::string backend = args.get("backend").value_or("");
  if (args.has("model") && model.empty())
    throw Error(ErrorCode::kUsage, "the model's name is empty", "--model",
                "give prefix/name or a short name");
  while (!backend.empty() && backend.back() == '/') backend.pop_back();
  if (args.has("backend") && backend.empty())
    throw Error(ErrorCode::kUsage, "the backend's name is empty", "--backend",
                "see spnl-host backends");
  if (model.empty() || backend.empty() || model.compare(0, backend.size() + 1, backend + "/") == 0)
    return model;
  return backend + "/" + model;
}

std::string required_model(const Arguments& args) {
  std::string model = model_option(args);
  if (model.empty())
    throw Error(ErrorCode::kUsage, "no model is given", "--model",
                "give one, like --model mistralrs/smollm2:135m");
  return model;
}

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

std::optional<std::string> option_or_environment(const Arguments& args, const char* option,
                                                 const char* variable) {
  return args.has(option) ? args.get(option) : environment(variable);
}

bool streaming_wanted() {
  std::string off = environment("MISTRALRS_NO_STREAM").value_or("0");
  return off == "0" || off == "false";
}

}  // namespace spnl::host
