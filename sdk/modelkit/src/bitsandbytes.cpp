// bitsandbytes (Dettmers et al., arXiv:2305.14314): 4-bit codes of a table of 16 values (NF4 or
// FP4) for blocks of `blocksize` consecutive elements, whose largest magnitude (absmax) may itself
// be stored in 8 bits; and int8 rows.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "linear_reader.h"
#include "spnl/modelkit/block_formats.h"

namespace spnl::modelkit {
namespace {

class FourBitRows final : public RowSource {
 public:
  std::array<float, 16> values{};
  std::vector<float> absmax;
  uint64_t block = 64, columns = 0;
  const std::byte* codes = nullptr;  ///< two elements a byte, the first in the high half

  void read(uint64_t first, uint64_t count, std::byte* out) const override {
    auto* floats = reinterpret_cast<float*>(out);
    for (uint64_t i = first * columns; i < (first + count) * columns; ++i) {
      const auto both = std::to_integer<unsigned>(codes[i / 2]);
      *floats++ = values[i % 2 == 0 ? both >> 4 : both & 15] * absmax[i / block];
    }
  }
};

std::vector<float> floats_of(const Tensor& tensor) {
  std::vector<float> values(tensor.elements());
  dequantize_row(tensor.type, tensor.data, tensor.elements(), values.data());
  return values;
}

/// Magnitudes of the blocks: plain, or a table's values times a magnitude of their own, plus an
/// offset.
std::vector<float> read_absmax(const LinearReader& reader, const Config& state, uint64_t blocks) {
  using enum TensorType;
  if (reader.find(".weight.nested_absmax") == nullptr)
    return floats_of(reader.need(".weight.absmax", {blocks}, {kF32}));
  const Tensor& codes = reader.need(".weight.absmax", {blocks}, {kU8});
  const auto table = floats_of(reader.need(".weight.nested_quant_map", {256}, {kF32}));
  const uint64_t size = state.get_uint("nested_blocksize").value_or(256);
  const auto offset = static_cast<float>(state.get_float("nested_offset").value_or(0));
  if (size == 0) state.corrupt("nested_blocksize", "is 0");
  const auto scales =
      floats_of(reader.need(".weight.nested_absmax", {(blocks + size - 1) / size}, {kF32}));
  std::vector<float> absmax(blocks);
  for (uint64_t i = 0; i < blocks; ++i)
    absmax[i] = table[std::to_integer<uint8_t>(codes.data[i])] * scales[i / size] + offset;
  return absmax;
}

Weight four_bit(const LinearReader& reader) {
  using enum TensorType;
  const Tensor* state_text = reader.find(".weight.quant_state.bitsandbytes__nf4");
  if (state_text == nullptr) state_text = reader.find(".weight.quant_state.bitsandbytes__fp4");
  if (state_text == nullptr || state_text->type != kU8)
    reader.corrupt(".weight.quant_state.bitsandbytes__nf4", "is missing (and so is fp4)");
  const Config state =
      Config::parse({reinterpret_cast<const char*>(state_text->data), state_text->bytes},
                    reader.tensors.path() / std::string(state_text->name));
  const auto shape = state.get_uints("shape").value_or(std::vector<uint64_t>());
  if (shape != std::vector<uint64_t>{reader.out, reader.in})
    state.corrupt("shape", "is not that of the layer");
  const uint64_t elements = reader.in * reader.out,
                 block = state.get_uint("blocksize").value_or(64);
  if (block == 0) state.corrupt("blocksize", "is 0");
  const Tensor* weight = reader.find(".weight");
  if (weight == nullptr || weight->type != kU8 || weight->bytes != (elements + 1) / 2)
    reader.corrupt(".weight", "is missing or does not hold two elements a byte of the layer");
  auto rows = std::make_shared<FourBitRows>();
  const auto values = floats_of(reader.need(".weight.quant_map", {16}, {kF32}));
  std::copy(values.begin(), values.end(), rows->values.begin());
  rows->absmax = read_absmax(reader, state, (elements + block - 1) / block);
  rows->block = block;
  rows->columns = reader.in;
  rows->codes = weight->data;
  return Weight(reader.stem, kF32, reader.out, reader.in, std::move(rows));
}

class EightBitRows final : public RowSource {
 public:
  EightBitRows(const Tensor& weight, const Tensor& scales)
      : weight_(weight), scales_(floats_of(scales)) {}

  void read(uint64_t first, uint64_t count, std::byte* out) const override {
    auto* floats = reinterpret_cast<float*>(out);
    const uint64_t columns = weight_.dims[0];
    for (uint64_t row = first; row < first + count; ++row)
      for (uint64_t c = 0; c < columns; ++c) {
        const auto level =
            static_cast<int8_t>(std::to_integer<uint8_t>(weight_.data[row * columns + c]));
        *floats++ = static_cast<float>(level) * scales_[row] / 127;
      }
  }

 private:
  const Tensor weight_;
  const std::vector<float> scales_;
};

}  // namespace

Weight bitsandbytes_linear(const LinearReader& reader) {
  using enum TensorType;
  if (reader.find(".weight.absmax") != nullptr) return four_bit(reader);
  const Tensor& weight = reader.need(".weight", {reader.in, reader.out}, {kI8});
  const Tensor& scales = reader.need(".SCB", {reader.out}, {kF32, kF16, kBF16});
  return Weight(reader.stem, kF32, reader.out, reader.in,
                std::make_shared<EightBitRows>(weight, scales));
}

}  // namespace spnl::modelkit
