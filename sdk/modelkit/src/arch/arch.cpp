#include "arch.h"

#include <algorithm>
#include <cmath>

#include "../gguf_part.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

std::string shape_text(const uint64_t* dims, size_t n) {
  std::string text = "[";
  for (size_t i = 0; i < n; ++i) text += (i == 0 ? "" : ", ") + std::to_string(dims[i]);
  return text + "]";
}

bool has_shape(const Tensor& tensor, std::initializer_list<uint64_t> dims) {
  // Trailing dimensions of 1 mean nothing: [64] and [64, 1] are the same vector.
  for (size_t i = 0; i < 4; ++i)
    if (tensor.dims[i] != (i < dims.size() ? dims.begin()[i] : 1)) return false;
  return true;
}

}  // namespace

ArchReader::ArchReader(const GgufFile& file, std::string architecture)
    : file_(file), architecture_(std::move(architecture)) {}

void ArchReader::corrupt(const std::string& why) const {
  throw Error(ErrorCode::kCorrupt, file_.path().string() + ": " + why);
}

void ArchReader::unsupported(const std::string& why) const {
  throw Error(ErrorCode::kUnsupported, file_.path().string() + ": " + why);
}

std::string ArchReader::full_key(std::string_view key) const {
  return architecture_ + "." + std::string(key);
}

std::optional<uint32_t> ArchReader::find_uint(std::string_view key) const {
  const auto value = file_.get_uint(full_key(key));
  if (!value) return std::nullopt;
  if (*value > INT32_MAX)
    corrupt("the value of '" + full_key(key) + "' is absurd: " + std::to_string(*value));
  return static_cast<uint32_t>(*value);
}

uint32_t ArchReader::uint(std::string_view key) const {
  const auto value = find_uint(key);
  if (!value) corrupt("the metadata lacks '" + full_key(key) + "'");
  if (*value == 0) corrupt("'" + full_key(key) + "' is 0");
  return *value;
}

uint32_t ArchReader::uint_or(std::string_view key, uint32_t absent) const {
  return find_uint(key) ? uint(key) : absent;
}

std::vector<uint32_t> ArchReader::per_layer(std::string_view key, uint32_t layers,
                                            std::optional<uint32_t> absent) const {
  const GgufFile::Value* value = file_.find_value(full_key(key));
  if (value == nullptr || !std::holds_alternative<std::vector<int64_t>>(*value))
    return std::vector<uint32_t>(layers, absent ? uint_or(key, *absent) : uint(key));
  const auto list = *file_.get_ints(full_key(key));
  if (list.size() < layers)
    corrupt("'" + full_key(key) + "' has " + std::to_string(list.size()) + " entries for " +
            std::to_string(layers) + " layers");
  std::vector<uint32_t> numbers;
  for (uint32_t i = 0; i < layers; ++i) {
    if (list[i] <= 0 || list[i] > INT32_MAX)
      corrupt("'" + full_key(key) + "' of layer " + std::to_string(i) + " is " +
              std::to_string(list[i]));
    numbers.push_back(static_cast<uint32_t>(list[i]));
  }
  return numbers;
}

double ArchReader::positive(std::string_view key, double absent) const {
  const double value = file_.get_float(full_key(key)).value_or(absent);
  if (!std::isfinite(value) || value <= 0)
    corrupt("'" + full_key(key) + "' must be a number above 0");
  return value;
}

std::string ArchReader::text(std::string_view key) const {
  return std::string(file_.get_string(full_key(key)).value_or(""));
}

Weight ArchReader::tensor(const std::string& name, std::initializer_list<uint64_t> dims) const {
  const Tensor* found = file_.find(name);
  if (found == nullptr) corrupt("tensor '" + name + "' is missing");
  if (!has_shape(*found, dims))
    corrupt("tensor '" + name + "' has the shape " + shape_text(found->dims.data(), found->n_dims) +
            " instead of " + shape_text(dims.begin(), dims.size()));
  const auto info = tensor_type_info(found->type);
  if (!info || !info->can_dequantize)
    unsupported("tensor '" + name + "' has the type " + std::string(info ? info->name : "?") +
                " (id " + std::to_string(static_cast<uint32_t>(found->type)) +
                "), which is not supported");
  return Weight(*found);
}

Weight ArchReader::optional_tensor(const std::string& name,
                                   std::initializer_list<uint64_t> dims) const {
  return file_.find(name) == nullptr ? Weight() : tensor(name, dims);
}

}  // namespace spnl::modelkit
