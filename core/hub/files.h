#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "spnl/hub.h"

namespace spnl::hub {

/// Does `name` match `glob`? '*': any run without '/', '?': one character but '/'. The glob "*"
/// alone matches everything.
bool glob_match(std::string_view glob, std::string_view name);

struct Listing {
  std::vector<ModelFile> files;  ///< by logical name; regular files, links followed
  size_t dangling = 0;           ///< links whose target is missing, in a loop or out of reach
  std::string problem;  ///< why (part of) the folder could not be read; empty: read in full
};

/// All files under a model's folder. Links to folders are not entered; depth and number of entries
/// are bounded. Hidden files are left out. Never throws for what is on the disk.
Listing list_files(const std::filesystem::path& folder);

}  // namespace spnl::hub
