#include "spnl/modelkit/weight_views.h"

#include <algorithm>
#include <cstring>

#include "spnl/modelkit/block_formats.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

bool has_single_elements(const Weight& weight) {
  return tensor_type_info(weight.type())->block_elements == 1;
}

/// Type and bytes of an element of a view that takes elements apart: the weight's own, or F32.
TensorType element_type(const Weight& weight) {
  return has_single_elements(weight) && weight.input_order() == nullptr ? weight.type()
                                                                        : TensorType::kF32;
}

/// Rows in the type of a view, columns in the model's order.
void read_elements(const Weight& weight, TensorType type, uint64_t first, uint64_t count,
                   std::byte* out) {
  if (type == weight.type() && weight.input_order() == nullptr)
    return weight.read_blocks(first, count, out);
  // A view changes the type to F32 alone.
  auto* floats = reinterpret_cast<float*>(out);
  const auto* order = weight.input_order();
  if (order == nullptr) return weight.read_floats(first, count, floats);
  std::vector<float> row(weight.columns());
  for (uint64_t r = 0; r < count; ++r) {
    weight.read_floats(first + r, 1, row.data());
    for (size_t c = 0; c < row.size(); ++c) floats[r * row.size() + (*order)[c]] = row[c];
  }
}

class PickedRows final : public RowSource {
 public:
  PickedRows(const Weight& weight, std::vector<uint32_t> rows)
      : weight_(weight), type_(element_type_of_rows(weight)), rows_(std::move(rows)) {}
  TensorType type() const { return type_; }
  void read(uint64_t first, uint64_t count, std::byte* out) const override {
    const uint64_t bytes = tensor_bytes(type_, weight_.columns());
    for (uint64_t i = 0; i < count; ++i)
      read_elements(weight_, type_, rows_[first + i], 1, out + i * bytes);
  }

 private:
  /// Whole rows keep their blocks, but for an order of columns of their own.
  static TensorType element_type_of_rows(const Weight& weight) {
    return weight.input_order() == nullptr ? weight.type() : TensorType::kF32;
  }

  const Weight weight_;
  const TensorType type_;
  const std::vector<uint32_t> rows_;
};

class OwnVector final : public RowSource {
 public:
  explicit OwnVector(std::vector<float> values) : values_(std::move(values)) {}
  void read(uint64_t, uint64_t count, std::byte* out) const override {
    if (count > 0) std::memcpy(out, values_.data(), values_.size() * sizeof(float));
  }

 private:
  const std::vector<float> values_;
};

class Transposed final : public RowSource {
 public:
  explicit Transposed(const Weight& weight)
      : weight_(weight),
        type_(element_type(weight)),
        element_(tensor_type_info(type_)->block_bytes) {}

  TensorType type() const { return type_; }

  void read(uint64_t first, uint64_t count, std::byte* out) const override {
    std::vector<std::byte> made;
    if (weight_.data() == nullptr || type_ != weight_.type())
      made.resize(weight_.columns() * element_);
    for (uint64_t r = 0; r < weight_.rows(); ++r) {
      const std::byte* row = made.data();
      if (made.empty())
        row = weight_.data() + r * weight_.row_bytes();
      else
        read_elements(weight_, type_, r, 1, made.data());
      for (uint64_t c = 0; c < count; ++c)
        std::memcpy(out + (c * weight_.rows() + r) * element_, row + (first + c) * element_,
                    element_);
    }
  }

 private:
  const Weight weight_;
  const TensorType type_;
  const uint64_t element_;
};

class Strided final : public RowSource {
 public:
  Strided(const Weight& weight, uint64_t first, uint64_t step)
      : weight_(weight), first_(first), step_(step) {}

  void read(uint64_t first, uint64_t count, std::byte* out) const override {
    for (uint64_t i = 0; i < count; ++i, out += weight_.row_bytes())
      weight_.read_blocks(first_ + (first + i) * step_, 1, out);
  }

 private:
  const Weight weight_;
  const uint64_t first_, step_;
};

class StridedElements final : public RowSource {
 public:
  StridedElements(const Weight& weight, uint64_t first, uint64_t step, uint64_t count)
      : weight_(weight), first_(first), step_(step), count_(count) {}

  void read(uint64_t, uint64_t rows, std::byte* out) const override {
    if (rows == 0) return;  // a vector has one
    const uint64_t size = tensor_type_info(weight_.type())->block_bytes;
    std::vector<std::byte> all(weight_.row_bytes());
    weight_.read_blocks(0, 1, all.data());
    for (uint64_t i = 0; i < count_; ++i)
      std::memcpy(out + i * size, all.data() + (first_ + i * step_) * size, size);
  }

 private:
  const Weight weight_;
  const uint64_t first_, step_, count_;
};

class Joined final : public RowSource {
 public:
  /// `alike`: all parts have this type and one input order, so that their blocks stay as they are.
  Joined(std::vector<Weight> parts, TensorType type, bool alike)
      : parts_(std::move(parts)), type_(type), alike_(alike) {}

  void read(uint64_t first, uint64_t count, std::byte* out) const override {
    for (const Weight& part : parts_) {
      if (first >= part.rows()) {
        first -= part.rows();
        continue;
      }
      const uint64_t n = std::min(count, part.rows() - first);
      if (alike_)
        part.read_blocks(first, n, out);
      else
        read_elements(part, type_, first, n, out);
      out += n * tensor_bytes(type_, part.columns());
      count -= n;
      if (count == 0) return;
      first = 0;
    }
  }

 private:
  const std::vector<Weight> parts_;
  const TensorType type_;
  const bool alike_;
};

class Scaled final : public RowSource {
 public:
  Scaled(const Weight& weight, float factor) : weight_(weight), factor_(factor) {}

  void read(uint64_t first, uint64_t count, std::byte* out) const override {
    auto* floats = reinterpret_cast<float*>(out);
    weight_.read_floats(first, count, floats);
    for (uint64_t i = 0; i < count * weight_.columns(); ++i) floats[i] *= factor_;
  }

 private:
  const Weight weight_;
  const float factor_;
};

class Mxfp4Rows final : public RowSource {
 public:
  Mxfp4Rows(const Tensor& blocks, const Tensor& scales, uint64_t blocks_per_row)
      : blocks_(blocks.data), scales_(scales.data), per_row_(blocks_per_row) {}

  void read(uint64_t first, uint64_t count, std::byte* out) const override {
    for (uint64_t i = first * per_row_; i < (first + count) * per_row_; ++i, out += 17) {
      const std::byte* pairs = blocks_ + i * 16;
      out[0] = scales_[i];
      // There: element 2j low, 2j + 1 high in byte j. Here: element j low, j + 16 high.
      const auto nibble = [&](int element) {
        const std::byte both = pairs[element / 2];
        return element % 2 == 0 ? both & std::byte{15} : both >> 4;
      };
      for (int j = 0; j < 16; ++j) out[1 + j] = nibble(j) | nibble(j + 16) << 4;
    }
  }

 private:
  const std::byte *blocks_, *scales_;
  const uint64_t per_row_;
};

[[noreturn]] void out_of_range(const Weight& weight, const char* what, uint64_t last) {
  throw Error(ErrorCode::kCorrupt,
              "tensor '" + weight.name() + "' has no " + what + " " + std::to_string(last));
}

bool same_order(const Weight& a, const Weight& b) {
  const auto *x = a.input_order(), *y = b.input_order();
  return x == y || (x != nullptr && y != nullptr && *x == *y);
}

}  // namespace

Weight picked_rows(const Weight& weight, std::vector<uint32_t> rows) {
  const uint64_t count = rows.size();
  auto source = std::make_shared<PickedRows>(weight, std::move(rows));
  const TensorType type = source->type();
  return Weight(weight.name(), type, count, weight.columns(), std::move(source));
}

Weight own_vector(std::string name, std::vector<float> values) {
  const uint64_t columns = values.size();
  return Weight(std::move(name), TensorType::kF32, 1, columns,
                std::make_shared<OwnVector>(std::move(values)));
}

Weight transposed(const Weight& weight) {
  auto source = std::make_shared<Transposed>(weight);
  const TensorType type = source->type();
  return Weight(weight.name(), type, weight.columns(), weight.rows(), std::move(source));
}

Weight strided_rows(const Weight& weight, uint64_t first, uint64_t step, uint64_t count) {
  if (step == 1 || count == 0) return weight.rows_of(first, count);
  if (first >= weight.rows() || count - 1 > (weight.rows() - 1 - first) / step)
    out_of_range(weight, "row", first + (count - 1) * step);
  Weight rows(weight.name(), weight.type(), count, weight.columns(),
              std::make_shared<Strided>(weight, first, step));
  rows.set_input_order(weight.shared_input_order());
  return rows;
}

Weight strided_elements(const Weight& weight, uint64_t first, uint64_t step, uint64_t count) {
  if (weight.rows() != 1 || !has_single_elements(weight) || count == 0 || step == 0 ||
      first >= weight.columns() || count - 1 > (weight.columns() - 1 - first) / step)
    out_of_range(weight, "element", first + (count - 1) * step);
  return Weight(weight.name(), weight.type(), 1, count,
                std::make_shared<StridedElements>(weight, first, step, count));
}

Weight joined_rows(const std::vector<Weight>& parts, const std::string& name) {
  if (parts.empty()) return Weight();
  uint64_t rows = 0;
  bool alike = true;
  for (const Weight& part : parts) {
    if (part.columns() != parts[0].columns())
      throw Error(ErrorCode::kCorrupt,
                  "tensors '" + parts[0].name() + "' and '" + part.name() +
                      "' have rows of different lengths, so that they make no matrix together");
    rows += part.rows();
    alike = alike && part.type() == parts[0].type() && same_order(part, parts[0]);
  }
  const TensorType type = alike ? parts[0].type() : TensorType::kF32;
  Weight whole(name, type, rows, parts[0].columns(), std::make_shared<Joined>(parts, type, alike));
  if (alike) whole.set_input_order(parts[0].shared_input_order());
  return whole;
}

Weight scaled(const Weight& weight, float factor) {
  Weight result(weight.name(), TensorType::kF32, weight.rows(), weight.columns(),
                std::make_shared<Scaled>(weight, factor));
  result.set_input_order(weight.shared_input_order());
  return result;
}

Weight mxfp4_rows(const Tensor& blocks, const Tensor& scales) {
  const std::string name(blocks.name);
  if (blocks.type != TensorType::kU8 || scales.type != TensorType::kU8 || blocks.dims[0] != 16 ||
      blocks.bytes / 16 != scales.bytes || scales.dims[0] == 0 || blocks.dims[1] != scales.dims[0])
    throw Error(ErrorCode::kCorrupt, "tensors '" + name + "' and '" + std::string(scales.name) +
                                         "' do not fit together as MXFP4 blocks and scales");
  return Weight(name, TensorType::kMXFP4, scales.bytes / scales.dims[0], scales.dims[0] * 32,
                std::make_shared<Mxfp4Rows>(blocks, scales, scales.dims[0]));
}

}  // namespace spnl::modelkit
