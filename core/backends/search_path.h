#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "backends/manifest.h"

namespace spnl::backends {

using Environment = std::function<std::optional<std::string>(const char* name)>;

/// The process's environment; sees nothing when the process has more rights than who started it.
std::optional<std::string> trusted_environment(const char* name);

struct SearchFolder {
  std::filesystem::path path;  ///< absolute
  bool check_owner = true;     ///< off for what the user named on the command line
};

/// Where backends may be, in order: `explicit_paths`, SPNL_BACKEND_PATH (colons between; what is
/// not absolute is left out, so never the current folder), the user's data folder, the
/// installation's folder. Also folders that are missing.
std::vector<SearchFolder> search_folders(const std::vector<std::filesystem::path>& explicit_paths,
                                         const Environment& environment);

/// The backends' folder of the installation (or build tree) that this code was loaded from.
std::filesystem::path installation_folder();

/// Why `path` may not be trusted, or empty: it must exist, be owned by root or this user (unless
/// `check_owner` is off), and not be writable by others. The last component must not be a link when
/// `regular_file` is set.
std::string trust_problem(const std::filesystem::path& path, bool check_owner, bool regular_file);

/// The manifests in the folders (not below them), by folder, then name; the bad ones too, with
/// their problem. A backend whose id an earlier folder has is marked as hidden. Opens no library.
std::vector<Manifest> find_manifests(const std::vector<SearchFolder>& folders);

}  // namespace spnl::backends
