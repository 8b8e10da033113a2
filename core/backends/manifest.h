#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace spnl::backends {

/// A library of which a process can hold one version ("libtorch=2.11.0").
struct ProcessWide {
  std::string name, version;
};

/// What the file NAME.spnl.json beside a backend's library says about it. Enough to list and route;
/// the library is not touched. With a problem, fields that could not be read are empty.
struct Manifest {
  std::filesystem::path file;     ///< absolute
  std::filesystem::path library;  ///< absolute, beside `file`
  std::string id, version, vendor, license;
  uint32_t abi_major = 0, minor_needed = 0;
  std::vector<std::string> prefixes, capabilities;
  std::vector<ProcessWide> process_wide;
  std::string sha256;   ///< of the library, lower case; empty: not stated
  size_t folder = 0;    ///< index in the search path
  std::string problem;  ///< empty: usable as far as the manifest tells; else why not, in one line
  bool hidden = false;  ///< its only problem: an earlier folder has a backend of the same id
};

constexpr std::string_view kManifestSuffix = ".spnl.json";

/// Reads a manifest. Never throws for what is in the file: that becomes `problem`. Unknown fields
/// are ignored.
Manifest read_manifest(const std::filesystem::path& file);

}  // namespace spnl::backends
