#include "grouped_weight.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "spnl/modelkit/block_formats.h"

namespace spnl::modelkit {
namespace {

constexpr uint64_t kBlock = 32;
constexpr uint64_t kTileRows =
    32;  // rows unpacked together: packed words hold several rows' or columns' integers

using Order = std::shared_ptr<const std::vector<uint32_t>>;

class GroupedRows final : public RowSource {
 public:
  GroupedRows(GroupedIntegers integers, TensorType type, Order order)
      : integers_(std::move(integers)), type_(type), order_(std::move(order)) {}

  void read(uint64_t first, uint64_t count, std::byte* out) const override {
    const uint64_t row_bytes = tensor_bytes(type_, integers_.columns);
    for (uint64_t done = 0; done < count; done += kTileRows)
      read_tile(first + done, std::min(count - done, kTileRows), out + done * row_bytes, row_bytes);
  }

 private:
  void read_tile(uint64_t first, uint64_t count, std::byte* out, uint64_t row_bytes) const {
    const std::vector<int16_t> zeros = read_zeros(first, count);
    int16_t levels[kBlock][kTileRows];
    for (uint64_t c = 0; c < integers_.columns; c += kBlock) {
      const uint64_t n = std::min(kBlock, integers_.columns - c);
      for (uint64_t j = 0; j < n; ++j)
        integers_.read_levels(source_column(c + j), first, count, levels[j]);
      for (uint64_t r = 0; r < count; ++r) {
        int16_t q[kBlock];
        for (uint64_t j = 0; j < n; ++j) {
          const uint64_t group = integers_.group_of[source_column(c + j)];
          q[j] = static_cast<int16_t>(levels[j][r] - zeros[group * count + r]);
        }
        std::byte* to = out + r * row_bytes + tensor_bytes(type_, c);
        if (type_ == TensorType::kF32)
          write_floats(first + r, c, n, q, to);
        else
          write_block(integers_.scale_at(first + r, integers_.group_of[source_column(c)]), q,
                      reinterpret_cast<uint8_t*>(to));
      }
    }
  }

  std::vector<int16_t> read_zeros(uint64_t first, uint64_t count) const {
    std::vector<int16_t> zeros(integers_.groups * count);
    for (uint64_t g = 0; g < integers_.groups; ++g)
      for (uint64_t r = 0; r < count; ++r)
        zeros[g * count + r] = static_cast<int16_t>(integers_.zero_at(first + r, g));
    return zeros;
  }

  uint32_t source_column(uint64_t column) const {
    return order_ == nullptr ? static_cast<uint32_t>(column) : (*order_)[column];
  }

  void write_floats(uint64_t row, uint64_t column, uint64_t n, const int16_t* q,
                    std::byte* out) const {
    for (uint64_t j = 0; j < n; ++j) {
      const float value =
          integers_.scale_at(row, integers_.group_of[column + j]) * static_cast<float>(q[j]);
      std::memcpy(out + j * sizeof value, &value, sizeof value);
    }
  }

  /// A block of Q4_0, Q5_0 or Q8_0; the layouts are block_formats.cpp's.
  void write_block(float scale, const int16_t* q, uint8_t* out) const {
    const uint16_t half = float_to_half(scale);
    *out++ = static_cast<uint8_t>(half);
    *out++ = static_cast<uint8_t>(half >> 8);
    if (type_ == TensorType::kQ8_0) {
      for (uint64_t j = 0; j < kBlock; ++j) out[j] = static_cast<uint8_t>(q[j]);
      return;
    }
    const int offset = type_ == TensorType::kQ4_0 ? 8 : 16;
    if (type_ == TensorType::kQ5_0) {
      uint32_t fifth = 0;
      for (uint64_t j = 0; j < kBlock; ++j)
        fifth |= static_cast<uint32_t>((q[j] + offset) >> 4 & 1) << j;
      for (int i = 0; i < 4; ++i) *out++ = static_cast<uint8_t>(fifth >> (8 * i));
    }
    for (uint64_t j = 0; j < kBlock / 2; ++j)
      out[j] =
          static_cast<uint8_t>(((q[j] + offset) & 15) | ((q[j + kBlock / 2] + offset) & 15) << 4);
  }

  const GroupedIntegers integers_;
  const TensorType type_;
  const Order order_;
};

bool scales_are_halves(const GroupedIntegers& integers) {
  if (integers.scales->type == TensorType::kF16) return true;
  for (uint64_t r = 0; r < integers.rows; ++r)
    for (uint64_t g = 0; g < integers.groups; ++g) {
      const float scale = integers.scale_at(r, g);
      if (half_to_float(float_to_half(scale)) != scale) return false;
    }
  return true;
}

/// Which of the types holds all of level - zero.
TensorType smallest_type(const GroupedIntegers& integers) {
  uint32_t least = integers.zero, most = integers.zero;
  if (integers.zeros.words != nullptr) {
    least = UINT32_MAX;
    most = 0;
    for (uint64_t r = 0; r < integers.rows; ++r)
      for (uint64_t g = 0; g < integers.groups; ++g) {
        const uint32_t zero = integers.zero_at(r, g);
        least = std::min(least, zero);
        most = std::max(most, zero);
      }
  }
  const int low = -static_cast<int>(most);
  const int high = static_cast<int>(integers.levels.mask()) - static_cast<int>(least);
  if (low >= -8 && high <= 7) return TensorType::kQ4_0;
  if (low >= -16 && high <= 15) return TensorType::kQ5_0;
  if (low >= -128 && high <= 127) return TensorType::kQ8_0;
  return TensorType::kF32;
}

/// Are all columns of each block of 32 in one group, when taken in this order?
bool whole_blocks(const GroupedIntegers& integers, const std::vector<uint32_t>& order) {
  if (integers.columns % kBlock != 0) return false;
  for (uint64_t c = 0; c < integers.columns; ++c)
    if (integers.group_of[order[c]] != integers.group_of[order[c / kBlock * kBlock]]) return false;
  return true;
}

}  // namespace

float GroupedIntegers::scale_at(uint64_t row, uint64_t group) const {
  const uint64_t at = row * scale_row_step + group * scale_group_step;
  float value = 0;
  dequantize_row(scales->type, scales->data + at * tensor_bytes(scales->type, 1), 1, &value);
  return value;
}

Weight grouped_weight(std::string name, GroupedIntegers integers) {
  const uint64_t rows = integers.rows, columns = integers.columns;
  std::vector<uint32_t> order(columns);
  std::iota(order.begin(), order.end(), 0u);
  bool whole = whole_blocks(integers, order), ordered = false;
  if (!whole) {
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      return integers.group_of[a] < integers.group_of[b];
    });
    whole = ordered = whole_blocks(integers, order);
  }
  TensorType type = TensorType::kF32;
  if (whole && scales_are_halves(integers)) type = smallest_type(integers);
  Order shared;
  if (ordered && type != TensorType::kF32)
    shared = std::make_shared<const std::vector<uint32_t>>(std::move(order));
  Weight weight(std::move(name), type, rows, columns,
                std::make_shared<GroupedRows>(std::move(integers), type, shared));
  weight.set_input_order(std::move(shared));
  return weight;
}

}  // namespace spnl::modelkit
