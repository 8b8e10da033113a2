// Float8 (and int8) elements with scales for the whole matrix, for each output or for blocks, as
// DeepSeek-V3's FP8 files and compressed-tensors have them; FP4 pairs with FP8 or power-of-two
// scales for 16 or 32 inputs.
#include <algorithm>

#include "grouped_weight.h"
#include "linear_reader.h"
#include "spnl/modelkit/block_formats.h"

namespace spnl::modelkit {
namespace {

/// Element [i] of a tensor of decodable type.
float element(const Tensor& tensor, uint64_t i) {
  float value = 0;
  dequantize_row(tensor.type, tensor.data + i * tensor_bytes(tensor.type, 1), 1, &value);
  return value;
}

/// Elements times the scale of the block of block_rows x block_columns they are in: F32.
class ScaledBlocks final : public RowSource {
 public:
  ScaledBlocks(const Tensor& weight, const Tensor& scales, uint64_t scales_per_row,
               uint64_t block_rows, uint64_t block_columns)
      : weight_(weight),
        scales_(scales),
        per_row_(scales_per_row),
        block_rows_(block_rows),
        block_columns_(block_columns) {}

  void read(uint64_t first, uint64_t count, std::byte* out) const override {
    const uint64_t columns = weight_.dims[0];
    auto* floats = reinterpret_cast<float*>(out);
    for (uint64_t row = first; row < first + count; ++row, floats += columns) {
      read_row(row, floats);
      for (uint64_t c = 0; c < columns; c += block_columns_) {
        const float scale = element(scales_, row / block_rows_ * per_row_ + c / block_columns_);
        for (uint64_t i = c; i < std::min(c + block_columns_, columns); ++i) floats[i] *= scale;
      }
    }
  }

 private:
  void read_row(uint64_t row, float* out) const {
    const uint64_t columns = weight_.dims[0];
    const std::byte* in = weight_.data + row * tensor_bytes(weight_.type, columns);
    if (weight_.type != TensorType::kI8) return dequantize_row(weight_.type, in, columns, out);
    for (uint64_t i = 0; i < columns; ++i)
      out[i] = static_cast<float>(static_cast<int8_t>(std::to_integer<uint8_t>(in[i])));
  }

  const Tensor weight_, scales_;
  const uint64_t per_row_, block_rows_, block_columns_;
};

/// Length of the blocks along a dimension that has `scales` scales for `n` elements; 0: no such
/// blocks.
uint64_t block_length(uint64_t n, uint64_t scales, uint64_t configured) {
  if (scales == 0) return 0;
  if (scales == 1) return n;
  if (scales == n) return 1;
  if (configured != 0 && (n + configured - 1) / configured == scales) return configured;
  return n % scales == 0 ? n / scales : 0;
}

/// Int8 elements with one scale for each output, as grouped integers: exact as Q8_0 where the scale
/// is a half.
Weight int8_rows(const LinearReader& reader, const Tensor& weight, const Tensor& scales) {
  GroupedIntegers integers;
  integers.rows = reader.out;
  integers.columns = reader.in;
  integers.groups = 1;
  integers.group_of.assign(reader.in, 0);
  integers.levels.words = weight.data;
  integers.levels.width = reader.in / 4;
  integers.levels.bits = 8;
  integers.levels.flip = 0x80;
  integers.zero = 0x80;
  integers.scales = &scales;
  return grouped_weight(reader.stem, std::move(integers));
}

/// Pairs of E2M1 in a byte, the first in the low half, with a scale for each `group` inputs: F32.
class Fp4Rows final : public RowSource {
 public:
  Fp4Rows(const Tensor& pairs, const Tensor& scales, uint64_t group, float factor)
      : pairs_(pairs), scales_(scales), group_(group), factor_(factor) {}

  void read(uint64_t first, uint64_t count, std::byte* out) const override {
    static constexpr float kValues[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    const uint64_t columns = pairs_.dims[0] * 2;
    auto* floats = reinterpret_cast<float*>(out);
    for (uint64_t row = first; row < first + count; ++row)
      for (uint64_t c = 0; c < columns; ++c) {
        const auto both = std::to_integer<unsigned>(pairs_.data[row * pairs_.dims[0] + c / 2]);
        const unsigned nibble = c % 2 == 0 ? both & 15 : both >> 4;
        const float value = nibble < 8 ? kValues[nibble] : -kValues[nibble - 8];
        *floats++ = value * (element(scales_, row * scales_.dims[0] + c / group_) * factor_);
      }
  }

 private:
  const Tensor pairs_, scales_;
  const uint64_t group_;
  const float factor_;
};

}  // namespace

Weight scaled_linear(const LinearReader& reader) {
  using enum TensorType;
  const bool inverse = reader.find(".weight_scale_inv") != nullptr;  // multiplies all the same
  const std::string_view suffix = inverse ? ".weight_scale_inv" : ".weight_scale";
  const Tensor& weight = reader.need(".weight", {reader.in, reader.out}, {kF8_E4M3, kF8_E5M2, kI8});
  const Tensor& scales = *reader.find(suffix);
  // [], [1], [out] and [out, 1] as well as [rows of blocks, columns of blocks].
  const bool by_output = scales.n_dims == 1 && scales.dims[0] == reader.out && reader.out != 1;
  const uint64_t across = by_output ? 1 : scales.dims[0],
                 down = by_output ? reader.out : scales.dims[1];
  const uint64_t rows = block_length(reader.out, down, reader.settings.block_rows),
                 columns = block_length(reader.in, across, reader.settings.block_columns);
  if (rows == 0 || columns == 0 || across == 0 || down == 0 || scales.elements() != across * down)
    reader.corrupt(suffix, "has the shape " + shape_text(scales) +
                               ", which is none of scales for " + std::to_string(reader.out) +
                               " outputs of " + std::to_string(reader.in) + " inputs");
  if (scales.type != kF32 && scales.type != kF16 && scales.type != kBF16 && scales.type != kF8_E8M0)
    reader.unsupported(suffix, "has a type that is not supported for scales");
  if (weight.type == kI8 && rows == 1 && columns == reader.in && reader.in % 4 == 0 &&
      scales.type != kF8_E8M0)
    return int8_rows(reader, weight, scales);
  return Weight(reader.stem, kF32, reader.out, reader.in,
                std::make_shared<ScaledBlocks>(weight, scales, across, rows, columns));
}

Weight compressed_fp4_linear(const LinearReader& reader) {
  using enum TensorType;
  if (reader.in % 2 != 0) reader.corrupt(".weight_packed", "packs pairs of inputs");
  const Tensor& pairs = reader.need(".weight_packed", {reader.in / 2, reader.out}, {kU8});
  const Tensor* scales = reader.find(".weight_scale");
  if (scales == nullptr || scales->dims[0] == 0 || reader.in % scales->dims[0] != 0)
    reader.corrupt(".weight_scale", "is missing or does not fit the inputs");
  const uint64_t group = reader.in / scales->dims[0];
  Tensor powers =
      reader.need(".weight_scale", {scales->dims[0], reader.out}, {kF8_E4M3, kU8, kF8_E8M0});
  if (powers.type == kU8) powers.type = kF8_E8M0;
  float factor = 1;
  if (reader.find(".weight_global_scale") != nullptr)
    factor = 1 / element(reader.need(".weight_global_scale", {1}, {kF32}), 0);
  return Weight(reader.stem, kF32, reader.out, reader.in,
                std::make_shared<Fp4Rows>(pairs, powers, group, factor));
}

}  // namespace spnl::modelkit
