#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "spnl/modelkit/tensor_source.h"

namespace spnl::modelkit {

/// A GGUF file (version 2 or 3), or all parts of a split one, or a llama file from before GGUF (ggml, ggmf, ggjt) under
/// the names and keys of GGUF; mapped read-only. Every length in it is checked
/// against the file before use; metadata strings point into the mapping. Const after open: thread-safe.
class GgufFile final : public TensorSource {
 public:
  /// Integers keep their sign (i64 / u64), both float widths become double; arrays of strings are views into the file,
  /// arrays of numbers are converted; but a long array of bytes is a string: see get_bytes.
  using Value = std::variant<bool, int64_t, uint64_t, double, std::string_view, std::vector<bool>, std::vector<int64_t>,
                             std::vector<double>, std::vector<std::string_view>>;

  /// `path`: a file, or the first part (-00001-of-0000N) of a split one. Throws Error: kNotFound, kIo, kCorrupt (what,
  /// and where in the file), kUnsupported (version, byte order, tensor type).
  static std::unique_ptr<GgufFile> open(const std::filesystem::path& path);
  ~GgufFile() override;

  /// A metadata entry as its bytes lie in the file: the type's number, then the value.
  struct RawValue {
    std::string_view key;
    std::span<const std::byte> bytes;
  };
  const std::vector<RawValue>& raw_values() const;  ///< of the first part, in the file's order

  const Value* find_value(std::string_view key) const;
  /// Typed look-ups: nullopt when absent, Error(kCorrupt) naming the key when it has another type or does not fit.
  std::optional<uint64_t> get_uint(std::string_view key) const;
  std::optional<double> get_float(std::string_view key) const;
  std::optional<bool> get_bool(std::string_view key) const;
  std::optional<std::string_view> get_string(std::string_view key) const;
  std::optional<std::span<const std::string_view>> get_strings(std::string_view key) const;
  std::optional<std::span<const int64_t>> get_ints(std::string_view key) const;
  std::optional<std::string> get_bytes(std::string_view key) const;  ///< an array of bytes, short or long
  std::optional<std::span<const double>> get_floats(std::string_view key) const;

  const Tensor* find(std::string_view name) const override;
  const std::vector<Tensor>& tensors() const override;
  const std::filesystem::path& path() const override;

 private:
  struct Impl;
  explicit GgufFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace spnl::modelkit
