#include "local_model.h"

#include <algorithm>

#include "model_options.h"
#include "spnl/hub.h"

namespace spnl::host {
namespace {

/// The name without the prefix of a backend that is installed.
std::string without_prefix(const std::string& name, Invocation& invocation) {
  const Backends backends(backends_options(invocation.args, invocation.terminal));
  for (const BackendInfo& backend : backends.list(false))
    for (const std::string& prefix : backend.prefixes)
      if (name.starts_with(prefix + "/")) return name.substr(prefix.size() + 1);
  return name;
}

}  // namespace

std::filesystem::path local_model(const std::string& name, Invocation& invocation) {
  if (name.empty())
    throw Error(ErrorCode::kUsage, "the model's name is empty", "command line",
                "give a path or a name, like smollm2:135m");
  std::error_code ignored;
  if (std::filesystem::is_regular_file(name, ignored)) return name;
  std::vector<hub::ModelFile> files =
      hub::resolve(hub::parse_model_name(without_prefix(name, invocation)), "*", environment);
  std::sort(files.begin(), files.end(),
            [](const hub::ModelFile& a, const hub::ModelFile& b) { return a.name < b.name; });
  for (const hub::ModelFile& file : files)
    if (file.path.extension() == ".gguf" || file.name.ends_with(".gguf")) return file.path;
  for (const hub::ModelFile& file : files)
    if (file.name == "config.json") return file.path.parent_path();
  throw Error(ErrorCode::kNotFound, "'" + name + "' has neither a GGUF file nor a config.json",
              "model", "give a model's file or folder");
}

}  // namespace spnl::host
