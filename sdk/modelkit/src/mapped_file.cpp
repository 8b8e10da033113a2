#include "mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "spnl/modelkit/error.h"
#include "spnl/modelkit/tensor_source.h"

namespace spnl::modelkit {
namespace {

[[noreturn]] void fail_with_errno(const std::filesystem::path& path, const char* doing) {
  const int number = errno;
  throw Error(number == ENOENT || number == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo,
              path.string() + ": cannot " + doing + ": " + std::generic_category().message(number));
}

struct Descriptor {
  int fd;
  ~Descriptor() { ::close(fd); }
};

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  // O_NONBLOCK: a pipe in the place of a model must not hang the open.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail_with_errno(path, "open");
  const Descriptor closer{fd};
  struct stat status {};
  if (::fstat(fd, &status) != 0) fail_with_errno(path, "read");
  if (!S_ISREG(status.st_mode))
    throw Error(ErrorCode::kInvalid,
                path.string() + ": not a regular file; give the path of a model file");
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
  if (address == MAP_FAILED) fail_with_errno(path, "map");
  data_ = address;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

void forget_pages(std::span<const std::byte> bytes) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(bytes.data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace spnl::modelkit
