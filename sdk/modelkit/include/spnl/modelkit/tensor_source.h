#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "spnl/modelkit/tensor_type.h"

namespace spnl::modelkit {

/// A named tensor inside a mapped file. dims[0] is the innermost (a row's length), as in GGUF: a linear weight of
/// `out` outputs and `in` inputs has dims {in, out}.
struct Tensor {
  std::string_view name;
  TensorType type;
  uint32_t n_dims;
  std::array<uint64_t, 4> dims;  ///< 1 beyond n_dims
  const std::byte* data;         ///< lives as long as the source
  uint64_t bytes;

  uint64_t elements() const { return dims[0] * dims[1] * dims[2] * dims[3]; }
  uint64_t row_elements() const { return dims[0]; }
  uint64_t rows() const { return dims[1] * dims[2] * dims[3]; }
};

/// Where weights come from, whatever the file format. Thread-safe.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual const Tensor* find(std::string_view name) const = 0;  ///< null when absent
  virtual const std::vector<Tensor>& tensors() const = 0;
  virtual const std::filesystem::path& path() const = 0;  ///< for messages
};

/// Gives back the pages that lie wholly in `bytes` of a mapped file and were read once; they come back from the file
/// when they are needed again. Thread-safe.
void forget_pages(std::span<const std::byte> bytes);

}  // namespace spnl::modelkit
