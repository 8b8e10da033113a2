// spnl-host list: the builtin queries, and the models on this machine.
#include <algorithm>
#include <map>

#include "command.h"
#include "json_text.h"
#include "model_options.h"
#include "spnl/builtins.h"
#include "spnl/hub.h"

namespace spnl::host {
namespace {

namespace fs = std::filesystem;

struct FoundModel {
  std::string repository, file;
  uint64_t bytes = 0;
};

constexpr std::string_view kPrefix = "models--";

/// "org/name" of "models--org--name".
std::string repository_of(const std::string& folder) {
  std::string name = folder.substr(kPrefix.size());
  if (size_t cut = name.find("--"); cut != std::string::npos) name.replace(cut, 2, "/");
  return name;
}

/// Files with weights in all snapshots of a repository, each name once.
void add_models(const fs::path& repository, std::vector<FoundModel>& to) {
  std::map<std::string, uint64_t> files;
  std::error_code problem;
  for (fs::recursive_directory_iterator at(repository / "snapshots", problem), end;
       !problem && at != end; at.increment(problem)) {
    const std::string extension = at->path().extension().string();
    std::error_code unreadable;  // a link whose blob is gone
    const uint64_t bytes = fs::file_size(at->path(), unreadable);
    if (!unreadable && (extension == ".gguf" || extension == ".safetensors"))
      files.emplace(at->path().filename().string(), bytes);
  }
  for (const auto& [file, bytes] : files)
    to.push_back({repository_of(repository.filename().string()), file, bytes});
}

std::vector<FoundModel> find_models(const fs::path& cache) {
  std::vector<fs::path> repositories;
  std::error_code problem;
  for (fs::directory_iterator at(cache, problem), end; !problem && at != end; at.increment(problem))
    if (at->path().filename().string().compare(0, kPrefix.size(), kPrefix) == 0)
      repositories.push_back(at->path());
  std::sort(repositories.begin(), repositories.end());
  std::vector<FoundModel> models;
  for (const fs::path& repository : repositories) add_models(repository, models);
  return models;
}

std::string as_json(const std::vector<FoundModel>& models, const fs::path& cache) {
  JsonText json;
  json.begin_object().key("builtins").begin_array();
  for (const Builtin& builtin : builtins())
    json.begin_object()
        .key("name")
        .text(builtin.name)
        .key("summary")
        .text(builtin.summary)
        .end_object();
  json.end_array().key("models").begin_array();
  for (const FoundModel& model : models)
    json.begin_object()
        .key("repository")
        .text(model.repository)
        .key("file")
        .text(model.file)
        .key("bytes")
        .whole(model.bytes)
        .end_object();
  return json.end_array().key("cache").text(cache.string()).end_object().str() + "\n";
}

std::string as_list(const std::vector<FoundModel>& models, const fs::path& cache) {
  std::string out = "builtin queries (run -b NAME)\n";
  for (const Builtin& builtin : builtins()) {
    std::string name = "  " + std::string(builtin.name);
    name.resize(14, ' ');
    out += name + std::string(builtin.summary) + "\n";
  }
  out += "models in " + cache.string() + "\n";
  if (models.empty()) out += "  none\n";
  std::string repository;
  for (const FoundModel& model : models) {
    if (model.repository != repository) out += "  " + model.repository + "\n";
    repository = model.repository;
    out +=
        "    " + model.file + "  " + std::to_string((model.bytes + 500'000) / 1'000'000) + " MB\n";
  }
  return out;
}

int run(Invocation& invocation) {
  const fs::path cache = hub::cache_folder(environment);
  const std::vector<FoundModel> models = find_models(cache);
  const std::string text =
      invocation.args.has("json") ? as_json(models, cache) : as_list(models, cache);
  invocation.terminal.listing(text);
  return kExitDone;
}

}  // namespace

Command list_command() {
  return {"list",
          "Lists the builtin queries, and the models in the cache.",
          "[--json]",
          kGeneral,
          {},
          0,
          "A model here is named org/name[:QUANT] behind a backend's prefix, like "
          "mistralrs/org/name:Q4_K_M.",
          run};
}

}  // namespace spnl::host
