#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace spnl::hub {

/// "models--org--name" of "org/name" in the standard Hugging Face layout.
std::string repository_folder(const std::string& repository);

/// The snapshots of a repository's folder, the one that refs/main names first, then the others,
/// newest first. A ref that does not name a plain folder is ignored.
std::vector<std::filesystem::path> snapshots(const std::filesystem::path& repository_folder);

}  // namespace spnl::hub
