#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace spnl::modelkit {

/// A regular file mapped read-only for the object's life. Movable; thread-safe. A file that someone
/// shortens while it is mapped ends the process (SIGBUS), as with every mapped reader: model files
/// are replaced, not edited.
class MappedFile {
 public:
  /// Throws Error: kNotFound, kIo (the system's reason), kInvalid (not a regular file).
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
    other.size_ = 0;
  }
  MappedFile& operator=(MappedFile&&) = delete;

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace spnl::modelkit
