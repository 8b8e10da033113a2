#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "spnl/modelkit/tensor_source.h"

namespace spnl::modelkit {

/// Rows of a matrix that no file holds as they are wanted: unpacked, transposed, put together. Thread-safe.
class RowSource {
 public:
  virtual ~RowSource() = default;
  /// Writes rows [first, first + count) in the weight's block type, one after the other.
  virtual void read(uint64_t first, uint64_t count, std::byte* out) const = 0;
};

/// One matrix of a model, [rows = outputs][columns = inputs], whatever its file calls it and however it packs it; a
/// vector has one row. A cheap handle: what it shows belongs to the file's mapping, which must outlive it, or to a
/// shared RowSource. Const use is thread-safe.
class Weight {
 public:
  Weight() = default;                     ///< none: the layer has no such weight
  explicit Weight(const Tensor& tensor);  ///< rows as they lie in the file
  /// Rows made on demand. `name`: for messages.
  Weight(std::string name, TensorType type, uint64_t rows, uint64_t columns,
         std::shared_ptr<const RowSource> source);

  explicit operator bool() const { return columns_ != 0; }
  const std::string& name() const { return name_; }
  TensorType type() const { return type_; }
  uint64_t rows() const { return rows_; }
  uint64_t columns() const { return columns_; }
  uint64_t elements() const { return rows_ * columns_; }
  uint64_t row_bytes() const { return tensor_bytes(type_, columns_); }
  uint64_t bytes() const { return rows_ * row_bytes(); }

  /// The rows where they lie in a mapped file, any alignment; null when they are made on demand.
  const std::byte* data() const { return data_; }
  /// Rows [first, first + count) in the type's blocks, [count * row_bytes()].
  void read_blocks(uint64_t first, uint64_t count, std::byte* out) const;
  /// The same as float32, [count][columns]. Throws Error(kUnsupported) for a type that cannot be decoded.
  void read_floats(uint64_t first, uint64_t count, float* out) const;

  /// Rows [first, first + count) as a weight of their own.
  Weight rows_of(uint64_t first, uint64_t count) const;
  /// Elements [first, first + count) of a vector whose type has blocks of one element.
  Weight elements_of(uint64_t first, uint64_t count) const;

  /// Column c multiplies input (*input_order())[c]: weights quantised in another order than the model's (act-order).
  /// Null: the usual order.
  const std::vector<uint32_t>* input_order() const { return input_order_.get(); }
  const std::shared_ptr<const std::vector<uint32_t>>& shared_input_order() const { return input_order_; }
  void set_input_order(std::shared_ptr<const std::vector<uint32_t>> order) { input_order_ = std::move(order); }

  /// Where its rows come from: equal for tied weights and for none else.
  using Place = std::tuple<const void*, uint64_t, uint64_t, uint64_t>;
  Place place() const;

 private:
  std::string name_;
  TensorType type_ = TensorType::kF32;
  uint64_t rows_ = 0, columns_ = 0;
  const std::byte* data_ = nullptr;
  std::shared_ptr<const RowSource> source_;
  uint64_t source_first_ = 0;  ///< the first row in `source_`
  std::shared_ptr<const std::vector<uint32_t>> input_order_;
};

}  // namespace spnl::modelkit
