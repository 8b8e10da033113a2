// spnl-host doctor: does this machine and this installation have what is needed?
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <set>
#include <thread>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "command.h"
#include "json_text.h"
#include "model_options.h"
#include "spnl/hub.h"

namespace spnl::host {
namespace {

constexpr const char* kDefaultModel = "smollm2:135m";

enum class Verdict { kOk, kWarning, kProblem };

struct Check {
  std::string name;
  Verdict verdict = Verdict::kOk;
  std::string detail;
};

Check check_cpu() {
  std::string features;
#if defined(__x86_64__)
  __builtin_cpu_init();
  auto add = [&](bool present, const char* name) {
    if (present) features += std::string(features.empty() ? "" : " ") + name;
  };
  add(__builtin_cpu_supports("avx2") > 0, "avx2");
  add(__builtin_cpu_supports("fma") > 0, "fma");
  add(__builtin_cpu_supports("avx512f") > 0, "avx512f");
  add(__builtin_cpu_supports("avx512vnni") > 0, "avx512vnni");
  add(__builtin_cpu_supports("avx512bf16") > 0, "avx512bf16");
  // Not every compiler knows these by name: CPUID leaf 7.
  unsigned a = 0, b = 0, c = 0, d = 0;
  add(__get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0, "avxvnni");
  add(__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 24 & 3) == 3, "amx-int8");
#endif
  std::string cores = std::to_string(std::thread::hardware_concurrency()) + " threads";
  if (features.empty())
    return {"cpu", Verdict::kWarning, cores + ", no vector extension known here: plain code, slow"};
  return {"cpu", Verdict::kOk, cores + ", " + features};
}

Check check_memory() {
  std::ifstream file("/proc/meminfo");
  std::string word;
  double available_kib = 0;
  while (file >> word)
    if (word == "MemAvailable:") file >> available_kib;
  if (available_kib <= 0) return {"memory", Verdict::kWarning, "cannot read /proc/meminfo"};
  char text[60];
  std::snprintf(text, sizeof text, "%.1f GiB available", available_kib / 1024 / 1024);
  return {"memory", available_kib < 1024 * 1024 ? Verdict::kWarning : Verdict::kOk, text};
}

std::vector<Check> check_backends(const Backends& backends) {
  std::vector<Check> checks;
  bool usable = false;
  for (const BackendInfo& backend : backends.list(true)) {
    std::string name = "backend " + (backend.id.empty() ? backend.manifest.string() : backend.id);
    usable |= backend.problem.empty();
    if (backend.problem.empty())
      checks.push_back({name, Verdict::kOk, backend.version + ", " + backend.library.string()});
    else
      checks.push_back(
          {name, backend.hidden ? Verdict::kWarning : Verdict::kProblem, backend.problem});
  }
  if (usable) return checks;
  std::string folders;
  for (const std::filesystem::path& folder : backends.search_path())
    folders += (folders.empty() ? "" : ", ") + folder.string();
  checks.push_back({"backends", Verdict::kProblem, "none can be used; looked in " + folders});
  return checks;
}

/// Two copies of a library that expects to be alone in a process do not end well.
Check check_copies(const std::string& library) {
  std::ifstream file("/proc/self/maps");
  std::set<std::string> paths;
  for (std::string line; std::getline(file, line);) {
    size_t slash = line.rfind('/');
    if (slash != std::string::npos && line.compare(slash + 1, library.size(), library) == 0)
      paths.insert(line.substr(line.find('/')));
  }
  std::string all;
  for (const std::string& path : paths) all += (all.empty() ? "" : ", ") + path;
  if (paths.size() > 1) return {library, Verdict::kProblem, "loaded more than once: " + all};
  return {library, Verdict::kOk, paths.empty() ? "not loaded" : all};
}

Check check_cache() {
  try {
    std::filesystem::path folder = hub::cache_folder(environment);
    std::error_code problem;
    if (std::filesystem::is_directory(folder, problem))
      return {"model cache", Verdict::kOk, folder.string()};
    return {"model cache", Verdict::kWarning, folder.string() + " is not there"};
  } catch (const Error& error) {
    return {"model cache", Verdict::kWarning, one_line(error)};
  }
}

/// What backends keep of fragments for later runs.
Check check_span_cache(const Arguments& args) {
  const auto folder = option_or_environment(args, "span-cache", "SPNL_SPAN_CACHE");
  const std::string name = "span cache";
  if (!folder || folder->empty()) return {name, Verdict::kOk, "none; see --span-cache"};
  std::error_code problem;
  if (!std::filesystem::exists(*folder, problem) && !problem)
    return {name, Verdict::kOk, *folder + " will be made"};
  double bytes = 0;
  for (std::filesystem::recursive_directory_iterator it(*folder, problem), end;
       !problem && it != end; it.increment(problem))
    if (std::error_code gone; it->is_regular_file(gone)) {
      const std::uintmax_t size = it->file_size(gone);
      if (!gone) bytes += static_cast<double>(size);
    }
  if (problem) return {name, Verdict::kWarning, *folder + ": " + problem.message()};
  char text[60];
  std::snprintf(text, sizeof text, ", %.1f MiB", bytes / 1024 / 1024);
  return {name, Verdict::kOk, *folder + text};
}

Check check_default_model() {
  try {
    std::vector<hub::ModelFile> files =
        hub::resolve(hub::parse_model_name(kDefaultModel), "*.gguf", environment);
    if (!files.empty()) return {"default model", Verdict::kOk, files.front().path.string()};
    return {"default model", Verdict::kWarning, std::string(kDefaultModel) + " has no GGUF file"};
  } catch (const Error& error) {
    return {"default model", Verdict::kWarning, one_line(error)};
  }
}

const char* verdict_name(Verdict verdict) {
  return verdict == Verdict::kOk ? "ok" : verdict == Verdict::kWarning ? "warning" : "problem";
}

std::string as_json(const std::vector<Check>& checks, bool healthy) {
  JsonText json;
  json.begin_object().key("healthy").boolean(healthy).key("checks").begin_array();
  for (const Check& check : checks) {
    json.begin_object()
        .key("name")
        .text(check.name)
        .key("verdict")
        .text(verdict_name(check.verdict));
    json.key("detail").text(check.detail).end_object();
  }
  return json.end_array().end_object().str() + "\n";
}

std::string as_list(const std::vector<Check>& checks) {
  std::string out;
  for (const Check& check : checks) {
    std::string verdict = verdict_name(check.verdict), name = check.name;
    verdict.resize(9, ' ');
    name.resize(std::max<size_t>(name.size(), 22), ' ');
    out += verdict + name + "  " + check.detail + "\n";
  }
  return out;
}

int run(Invocation& invocation) {
  std::vector<Check> checks = {check_cpu(), check_memory()};
  Backends backends(backends_options(invocation.args, invocation.terminal));
  for (Check& check : check_backends(backends)) checks.push_back(std::move(check));
  for (const char* library : {"libtorch_cpu.so", "libc10.so", "libgomp"})
    checks.push_back(check_copies(library));
  checks.push_back(check_cache());
  checks.push_back(check_span_cache(invocation.args));
  checks.push_back(check_default_model());
  bool healthy = std::none_of(checks.begin(), checks.end(),
                              [](const Check& c) { return c.verdict == Verdict::kProblem; });
  std::string text = invocation.args.has("json") ? as_json(checks, healthy) : as_list(checks);
  invocation.terminal.listing(text);
  return healthy ? kExitDone : kExitNotFound;
}

}  // namespace

Command doctor_command() {
  return {"doctor",
          "Checks this machine and this installation.",
          "[--json]",
          kGeneral | kBackend,
          {},
          0,
          "Opens every backend. Exits 0 when nothing is broken (warnings do not count), else 3.",
          run};
}

}  // namespace spnl::host
