#pragma once
#include <cstddef>
#include <filesystem>
#include <string>

namespace spnl {

/// The bytes of a regular file of at most `limit` bytes. Throws std::runtime_error that says what
/// is wrong with it.
std::string read_whole_file(const std::filesystem::path& path, size_t limit);

}  // namespace spnl
