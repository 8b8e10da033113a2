#include "spnl/modelkit/weight.h"

#include <algorithm>
#include <cstring>

#include "spnl/modelkit/block_formats.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {

Weight::Weight(const Tensor& tensor)
    : name_(tensor.name),
      type_(tensor.type),
      rows_(tensor.rows()),
      columns_(tensor.row_elements()),
      data_(tensor.data) {}

Weight::Weight(std::string name, TensorType type, uint64_t rows, uint64_t columns,
               std::shared_ptr<const RowSource> source)
    : name_(std::move(name)),
      type_(type),
      rows_(rows),
      columns_(columns),
      source_(std::move(source)) {}

void Weight::read_blocks(uint64_t first, uint64_t count, std::byte* out) const {
  if (data_ != nullptr)
    std::memcpy(out, data_ + first * row_bytes(), count * row_bytes());
  else
    source_->read(source_first_ + first, count, out);
}

void Weight::read_floats(uint64_t first, uint64_t count, float* out) const {
  if (data_ != nullptr) {
    dequantize_row(type_, data_ + first * row_bytes(), count * columns_, out);
    return;
  }
  if (type_ == TensorType::kF32) {
    source_->read(source_first_ + first, count, reinterpret_cast<std::byte*>(out));
    return;
  }
  // Several rows at a time: a source that has to go through all it is made of does so less often.
  constexpr uint64_t kChunkBytes = uint64_t{1} << 20;
  const uint64_t chunk = std::min(count, std::max<uint64_t>(1, kChunkBytes / row_bytes()));
  std::vector<std::byte> rows(chunk * row_bytes());
  for (uint64_t done = 0; done < count; done += chunk) {
    const uint64_t n = std::min(chunk, count - done);
    source_->read(source_first_ + first + done, n, rows.data());
    dequantize_row(type_, rows.data(), n * columns_, out + done * columns_);
  }
}

Weight Weight::rows_of(uint64_t first, uint64_t count) const {
  if (first > rows_ || count > rows_ - first)
    throw Error(ErrorCode::kCorrupt, "tensor '" + name_ + "' has only " + std::to_string(rows_) +
                                         " rows; rows " + std::to_string(first) + " to " +
                                         std::to_string(first + count) + " are wanted");
  Weight part = *this;
  part.rows_ = count;
  if (data_ != nullptr)
    part.data_ += first * row_bytes();
  else
    part.source_first_ += first;
  return part;
}

Weight Weight::elements_of(uint64_t first, uint64_t count) const {
  const auto info = tensor_type_info(type_);
  if (rows_ != 1 || first > columns_ || count > columns_ - first || data_ == nullptr || !info ||
      info->block_elements != 1)
    throw Error(ErrorCode::kCorrupt, "tensor '" + name_ + "' has " + std::to_string(columns_) +
                                         " elements; elements " + std::to_string(first) + " to " +
                                         std::to_string(first + count) + " are wanted");
  Weight part = *this;
  part.data_ += first * info->block_bytes;
  part.columns_ = count;
  return part;
}

Weight::Place Weight::place() const {
  const void* from = data_ != nullptr ? static_cast<const void*>(data_) : source_.get();
  return {from, source_first_, rows_, columns_};
}

}  // namespace spnl::modelkit
