#include "spnl/modelkit/load_request.h"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "legacy_ggml.h"
#include "spnl/backend.hpp"

namespace spnl::modelkit {

bool load_flag(const spnl_load& load, std::string_view key) {
  for (uint32_t i = 0; i < load.n_options; ++i) {
    if (abi::view(load.options[i].key) != key) continue;
    const std::string_view value = abi::view(load.options[i].value);
    if (value == "true" || value == "1") return true;
    if (value == "false" || value == "0" || value.empty()) return false;
    throw abi::Failure(SPNL_INVALID, "option " + std::string(key) + ": '" + std::string(value) +
                                         "' is neither true nor false");
  }
  return false;
}

OpenOptions open_options(const spnl_load& load) {
  return {.vocab_only = load_flag(load, "vocab_only"), .ignore_eos = load_flag(load, "ignore_eos")};
}

namespace {

struct FoundFile {
  std::string name;  ///< logical: with folders inside the model's
  std::filesystem::path path;
};

/// Throws abi::Failure with the host's reason when nothing matches.
std::vector<FoundFile> ask_for_files(const spnl_host& host, const spnl_load& load,
                                     std::string_view glob) {
  std::vector<FoundFile> files;
  spnl_file_sink sink{};
  sink.struct_size = sizeof sink;
  sink.user = &files;
  sink.file = [](void* user, spnl_str name, spnl_str path, uint64_t) -> spnl_status {
    try {
      static_cast<std::vector<FoundFile>*>(user)->push_back(
          {std::string(abi::view(name)), std::filesystem::path(abi::view(path))});
      return SPNL_OK;
    } catch (...) {
      return SPNL_NO_MEMORY;
    }
  };
  spnl_error error{};
  error.struct_size = sizeof error;
  const spnl_status status =
      host.resolve(host.self, load.op, load.model, abi::str(glob), &sink, &error);
  if (status != SPNL_OK)
    throw abi::Failure(
        status, error.message[0] != '\0' ? error.message : "the model's files were not found");
  std::sort(files.begin(), files.end(), [](const FoundFile& a, const FoundFile& b) {
    const auto depth = [](const std::string& name) {
      return std::count(name.begin(), name.end(), '/');
    };
    return depth(a.name) != depth(b.name) ? depth(a.name) < depth(b.name) : a.name < b.name;
  });
  return files;
}

/// The first file with one of these endings, those of the model's own folder before those of inner
/// ones.
const FoundFile* find_ending(const std::vector<FoundFile>& files,
                             std::initializer_list<std::string_view> endings) {
  for (const FoundFile& file : files)
    for (const std::string_view ending : endings)
      if (file.name.ends_with(ending)) return &file;
  return nullptr;
}

/// What of these files to open; empty when there is nothing.
std::filesystem::path choose(const std::vector<FoundFile>& files) {
  if (files.size() == 1) return files[0].path;  // whatever it is called: the first bytes decide
  if (const FoundFile* tensors = find_ending(files, {".safetensors"}))
    return tensors->path.parent_path();
  if (const FoundFile* gguf = find_ending(files, {".gguf", ".GGUF"})) return gguf->path;
  for (const FoundFile& file : files)
    if (file.name.ends_with(".bin") && is_legacy_ggml_file(file.path)) return file.path;
  return {};
}

}  // namespace

std::filesystem::path resolve_model(const spnl_host& host, const spnl_load& load) {
  const auto files = ask_for_files(host, load, "*");
  if (const auto path = choose(files); !path.empty()) return path;
  const std::string model = "'" + std::string(abi::view(load.model)) + "'";
  if (const FoundFile* pickle = find_ending(files, {".bin", ".pt", ".pth", ".ckpt"}))
    throw abi::Failure(SPNL_UNSUPPORTED,
                       model + " is there as a PyTorch (pickle) checkpoint alone (" + pickle->name +
                           "), which may run any program when it is read and so is never opened; "
                           "take a repository "
                           "with safetensors or GGUF files");
  throw abi::Failure(SPNL_NOT_FOUND, model + " has no .gguf and no .safetensors file");
}

}  // namespace spnl::modelkit
