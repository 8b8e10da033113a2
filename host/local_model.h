#pragma once
#include <filesystem>
#include <string>

#include "command.h"

namespace spnl::host {

/// Where the model of this name lies on this machine: a GGUF file (of a split one, the first part)
/// or a folder. `name`: a path, or what --model takes, with or without a backend's prefix. Throws
/// Error(kUsage, kNotFound).
std::filesystem::path local_model(const std::string& name, Invocation& invocation);

}  // namespace spnl::host
