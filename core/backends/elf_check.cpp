#include "backends/elf_check.h"

#include <elf.h>
#include <link.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <system_error>

namespace spnl::backends {

namespace {

constexpr unsigned kMaxSegments = 256;

template <class T>
bool read_at(std::ifstream& in, uint64_t offset, T& out) {
  in.seekg(static_cast<std::streamoff>(offset));
  return static_cast<bool>(in.read(reinterpret_cast<char*>(&out), sizeof out));
}

}  // namespace

std::string elf_problem(const std::filesystem::path& file) {
  std::error_code failed;
  const uint64_t size = std::filesystem::file_size(file, failed);
  if (failed) return failed.message();
  std::ifstream in(file, std::ios::binary);
  if (!in) return "it cannot be read";
  ElfW(Ehdr) header{};
  if (size < SELFMAG || !read_at(in, 0, header) ||
      std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
    return "it is no shared library";
  constexpr unsigned char kClass = sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32;
  if (header.e_ident[EI_CLASS] != kClass || header.e_type != ET_DYN)
    return "it is no shared library for this machine";
  if (header.e_phentsize != sizeof(ElfW(Phdr)) || header.e_phnum == 0 ||
      header.e_phnum > kMaxSegments)
    return "its list of segments is damaged";
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) segment{};
    // e_phoff comes from the file: checked before the sum, which could wrap.
    if (header.e_phoff > size || !read_at(in, header.e_phoff + i * sizeof segment, segment) ||
        segment.p_offset > size || segment.p_filesz > size - segment.p_offset)
      return "it is cut off: a segment lies outside of the file";
  }
  return "";
}

}  // namespace spnl::backends
