#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace spnl::backends {

/// SHA-256 (FIPS 180-4) of `bytes` in lower-case hexadecimal.
std::string sha256(std::string_view bytes);

/// Of a file's bytes; empty when it cannot be read.
std::string file_sha256(const std::filesystem::path& file);

}  // namespace spnl::backends
