#pragma once
#include <memory>
#include <string>
#include <vector>

#include "packed_integers.h"
#include "spnl/modelkit/tensor_source.h"
#include "spnl/modelkit/weight.h"

namespace spnl::modelkit {

/// A matrix [rows][columns] of value = scale * (level - zero), where scale and zero belong to a row
/// and a group of columns. All memory is the file's.
struct GroupedIntegers {
  uint64_t rows = 0, columns = 0, groups = 0;
  std::vector<uint32_t> group_of;  ///< [columns], below `groups`

  PackedIntegers levels;
  bool levels_along_columns = true;  ///< packed along the columns of a row; else along the rows

  PackedIntegers zeros;  ///< no words: all are `zero`
  bool zeros_along_groups = false;
  uint32_t zero = 0;         ///< without zeros
  uint32_t zero_offset = 0;  ///< added to the stored ones, modulo 2^bits

  const Tensor* scales = nullptr;                     ///< F16, BF16 or F32
  uint64_t scale_row_step = 1, scale_group_step = 1;  ///< elements between neighbours

  /// The levels of one column in rows [first, first + count).
  void read_levels(uint64_t column, uint64_t first, uint64_t count, int16_t* out) const {
    if (levels_along_columns) return levels.across(column, first, count, out);
    for (uint64_t i = 0; i < count; ++i)
      out[i] = static_cast<int16_t>(levels.at(first + i, column));
  }
  uint32_t zero_at(uint64_t row, uint64_t group) const {
    if (zeros.words == nullptr) return zero;
    const uint32_t stored = zeros_along_groups ? zeros.at(group, row) : zeros.at(row, group);
    return (stored + zero_offset) & zeros.mask();
  }
  float scale_at(uint64_t row, uint64_t group) const;
};

/// The matrix as rows of the smallest of Q4_0, Q5_0 and Q8_0 that holds every value exactly: level
/// - zero fits, scales are float16, groups are whole blocks of 32. Where columns of a group are
/// scattered (act-order), they are brought together and the weight has an input order. Else: F32 in
/// the usual order.
Weight grouped_weight(std::string name, GroupedIntegers integers);

}  // namespace spnl::modelkit
