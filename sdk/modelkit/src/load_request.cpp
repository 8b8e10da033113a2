#include "spnl/modelkit/load_request.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

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

std::filesystem::path resolve_gguf(const spnl_host& host, const spnl_load& load) {
  std::vector<std::pair<std::string, std::string>> files;  // logical name, path
  spnl_file_sink sink{};
  sink.struct_size = sizeof sink;
  sink.user = &files;
  sink.file = [](void* user, spnl_str name, spnl_str path, uint64_t) -> spnl_status {
    try {
      static_cast<decltype(files)*>(user)->emplace_back(abi::view(name), abi::view(path));
      return SPNL_OK;
    } catch (...) {
      return SPNL_NO_MEMORY;
    }
  };
  spnl_error error{};
  error.struct_size = sizeof error;
  const spnl_status status =
      host.resolve(host.self, load.op, load.model, abi::str("*.gguf"), &sink, &error);
  if (status != SPNL_OK)
    throw abi::Failure(status,
                       error.message[0] != '\0' ? error.message : "the model's files were not found");
  if (files.empty())
    throw abi::Failure(SPNL_NOT_FOUND,
                       "'" + std::string(abi::view(load.model)) + "' has no .gguf file");
  return std::min_element(files.begin(), files.end())->second;  // the first part of a split file
}

}  // namespace spnl::modelkit
