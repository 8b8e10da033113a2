#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "spnl/modelkit/gguf.h"

namespace spnl::modelkit {

/// Writes a GGUF file (version 3): first the metadata and the list of tensors are named, then the
/// tensors' bytes come in that order, in pieces of any size. Until finish() everything goes to a
/// temporary file in the same folder, so PATH is either the whole file or what it was before.
/// Memory: the header, and a buffer of a megabyte. One thread at a time. Throws Error: kIo with the
/// system's reason (disk full, no permission), kInvalid for calls in the wrong order.
class GgufWriter {
 public:
  using Value = std::variant<bool, uint32_t, int32_t, uint64_t, float, std::string_view>;

  explicit GgufWriter(const std::filesystem::path& path);
  ~GgufWriter();  ///< without finish(): takes the temporary file away

  void add_value(std::string_view key, const Value& value);
  void add_list(std::string_view key, std::span<const std::string> texts);
  void add_list(std::string_view key, std::span<const float> numbers);
  void add_list(std::string_view key, std::span<const int32_t> numbers);
  void copy_value(const GgufFile::RawValue& value);
  /// `dims`: innermost first, 1 to 4 of them, the first a whole number of the type's blocks.
  void add_tensor(std::string_view name, TensorType type, std::span<const uint64_t> dims);

  /// The next bytes of the tensors, in the order of add_tensor().
  void write(std::span<const std::byte> bytes);
  /// A file that can be read as the result so far; tensors that are not yet written are zeros in
  /// it. It belongs to this, and is gone with it.
  std::filesystem::path preview();
  /// All tensors must be complete. Once it returns, the file is on the disk under its name.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spnl::modelkit
