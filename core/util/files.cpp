#include "util/files.h"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <system_error>

namespace spnl {

std::string read_whole_file(const std::filesystem::path& path, size_t limit) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found)
    throw std::runtime_error("there is no such file");
  if (status.type() == std::filesystem::file_type::directory)
    throw std::runtime_error("it is a folder");
  if (error == std::errc::too_many_symbolic_link_levels)
    throw std::runtime_error("its links lead in a circle");
  if (error) throw std::runtime_error(error.message());
  if (status.type() != std::filesystem::file_type::regular)
    throw std::runtime_error("it is no regular file");
  const auto close = [](std::FILE* file) { std::fclose(file); };
  const std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(path.c_str(), "rb"), close);
  if (!file)
    throw std::runtime_error("it cannot be opened: " + std::generic_category().message(errno));
  std::string bytes;
  char buffer[65536];
  // The size is found by reading: a file may grow, and those of /proc tell none.
  while (const size_t n = std::fread(buffer, 1, sizeof buffer, file.get())) {
    bytes.append(buffer, n);
    if (bytes.size() > limit)
      throw std::runtime_error("it has more than " + std::to_string(limit / 1'000'000) + " MB");
  }
  if (std::ferror(file.get())) throw std::runtime_error("it cannot be read");
  return bytes;
}

}  // namespace spnl
