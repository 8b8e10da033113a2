#pragma once
#include <filesystem>
#include <string>

namespace spnl::backends {

/// Why a file cannot be a whole shared library for this machine, or empty. The dynamic loader maps
/// a cut file and then dies on the first missing page, so this is asked before it. Only the header
/// and the segments' extents are read.
std::string elf_problem(const std::filesystem::path& file);

}  // namespace spnl::backends
