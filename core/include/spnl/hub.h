#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace spnl::hub {

struct ModelFile {
  std::string name;             ///< logical: as the repository names it
  std::filesystem::path path;   ///< absolute, on this machine
  uint64_t bytes = 0;
};

/// Repository and file selection that a model name stands for.
struct ModelName {
  std::filesystem::path path;  ///< set when the name is an existing path
  std::string repository;      ///< "org/name" otherwise
  std::string selector;        ///< "Q4_K_M" of "org/name:Q4_K_M"; may be empty
};

/// `name` without backend prefix: "/abs/path", "./rel", "org/name[:QUANT]" or a short name ("smollm2:135m").
/// Throws Error(kUsage) for what is none of these, with near short names.
ModelName parse_model_name(const std::string& name);
bool is_short_name(const std::string& name);

using Environment = std::function<std::optional<std::string>(const char* name)>;

/// HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub.
std::filesystem::path cache_folder(const Environment& environment);

/// The local files of a model whose names match `glob`. One GGUF is chosen from a GGUF repository by the selector or the
/// priorities of the language specification, section 10. Throws Error(kNotFound) that says where it looked.
std::vector<ModelFile> resolve(const ModelName& name, std::string_view glob, const Environment& environment);

}  // namespace spnl::hub
