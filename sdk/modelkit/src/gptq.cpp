// GPTQ (Frantar et al., arXiv:2210.17323) as AutoGPTQ and GPTQModel write it, and AWQ (Lin et al.,
// arXiv:2306.00978) as AutoAWQ writes it. Bits and number of groups follow from the shapes, so that
// overrides for single modules need no reading.
#include <algorithm>
#include <cstring>

#include "grouped_weight.h"
#include "linear_reader.h"

namespace spnl::modelkit {
namespace {

constexpr std::initializer_list<TensorType> kWords = {TensorType::kI32, TensorType::kU32};
constexpr std::initializer_list<TensorType> kScales = {TensorType::kF16, TensorType::kBF16,
                                                       TensorType::kF32};

/// Group of each input where the file does not say: `size` in a row belong together.
std::vector<uint32_t> even_groups(const LinearReader& reader, uint64_t groups) {
  const uint64_t in = reader.in;
  uint64_t size = reader.settings.group_size;
  // The shapes have the last word: a module may have a group size of its own.
  if (size == 0 || (in + size - 1) / size != groups) {
    if (groups == 0 || in % groups != 0)
      reader.corrupt(".scales", "has " + std::to_string(groups) + " groups for " +
                                    std::to_string(in) +
                                    " inputs, which is not the group size of the configuration");
    size = in / groups;
  }
  std::vector<uint32_t> group_of(in);
  for (uint64_t i = 0; i < in; ++i) group_of[i] = static_cast<uint32_t>(i / size);
  return group_of;
}

std::vector<uint32_t> read_groups(const LinearReader& reader, std::string_view suffix,
                                  uint64_t groups) {
  const Tensor* index = reader.find(suffix);
  if (index == nullptr) return even_groups(reader, groups);
  reader.need(suffix, {reader.in}, kWords);
  std::vector<uint32_t> group_of(reader.in);
  std::memcpy(group_of.data(), index->data, index->bytes);
  // Compressed-tensors writes -1 throughout where no order was kept.
  if (std::all_of(group_of.begin(), group_of.end(), [](uint32_t g) { return g == UINT32_MAX; }))
    return even_groups(reader, groups);
  for (const uint32_t group : group_of)
    if (group >= groups)
      reader.corrupt(suffix, "names group " + std::to_string(static_cast<int32_t>(group)) + " of " +
                                 std::to_string(groups));
  return group_of;
}

/// Version 1 of the format stores zero - 1, version 2 zero itself, and files are labelled wrongly.
/// A symmetric quantisation has one zero, the middle, so that what is stored tells.
uint32_t zero_offset(const LinearReader& reader, const GroupedIntegers& integers) {
  const bool second = reader.settings.checkpoint_format == "gptq_v2";
  const uint32_t by_label = second ? 0 : 1;
  if (!reader.settings.symmetric.value_or(true)) return by_label;
  const uint32_t first = integers.zeros.at(0, 0), middle = 1u << (integers.levels.bits - 1);
  if (first != middle && first != middle - 1) return by_label;
  for (uint64_t g = 0; g < integers.groups; ++g)
    for (uint64_t row = 0; row < integers.rows; ++row)
      if (integers.zeros.at(row, g) != first) return by_label;
  return middle - first;
}

PackedIntegers packed(const Tensor& tensor, uint32_t bits) {
  PackedIntegers integers;
  integers.words = tensor.data;
  integers.width = tensor.dims[0];
  integers.bits = bits;
  return integers;
}

GroupedIntegers of_layer(const LinearReader& reader, uint64_t groups) {
  GroupedIntegers integers;
  integers.rows = reader.out;
  integers.columns = reader.in;
  integers.groups = groups;
  return integers;
}

const Tensor& some_scales(const LinearReader& reader, std::string_view suffix) {
  const Tensor* scales = reader.find(suffix);
  if (scales == nullptr || scales->elements() == 0) reader.corrupt(suffix, "is missing or empty");
  return *scales;
}

/// Scales [groups][out], and what else GPTQ and AWQ have in common.
GroupedIntegers with_scales(const LinearReader& reader) {
  GroupedIntegers integers = of_layer(reader, some_scales(reader, ".scales").dims[1]);
  integers.scales = &reader.need(".scales", {reader.out, integers.groups}, kScales);
  integers.scale_group_step = reader.out;
  return integers;
}

constexpr uint8_t kAwqOrder[8] = {0, 4, 1, 5, 2, 6, 3, 7};

Weight awq_gemm(const LinearReader& reader, const Tensor& qweight) {
  GroupedIntegers integers = with_scales(reader);
  reader.need(".qweight", {reader.out / 8, reader.in}, kWords);
  integers.levels = packed(qweight, 4);
  integers.levels.order = kAwqOrder;
  integers.levels_along_columns = false;
  integers.zeros = packed(reader.need(".qzeros", {reader.out / 8, integers.groups}, kWords), 4);
  integers.zeros.order = kAwqOrder;
  integers.group_of = even_groups(reader, integers.groups);
  return grouped_weight(reader.stem, std::move(integers));
}

/// Rows are outputs; scales and zeros have room for more groups than there are.
Weight awq_gemv(const LinearReader& reader, const Tensor& qweight) {
  const uint64_t size = reader.settings.group_size == 0 ? reader.in : reader.settings.group_size;
  GroupedIntegers integers = of_layer(reader, (reader.in + size - 1) / size);
  reader.need(".qweight", {reader.in / 8, reader.out}, kWords);
  integers.levels = packed(qweight, 4);
  const Tensor *zeros = reader.find(".qzeros"), *scales = reader.find(".scales");
  if (zeros == nullptr || zeros->dims[0] * 8 < integers.groups)
    reader.corrupt(".qzeros", "is missing or has too few groups");
  if (scales == nullptr || scales->dims[0] < integers.groups)
    reader.corrupt(".scales", "is missing or has too few groups");
  integers.zeros = packed(reader.need(".qzeros", {zeros->dims[0], reader.out}, kWords), 4);
  integers.zeros_along_groups = true;
  integers.scales = &reader.need(".scales", {scales->dims[0], reader.out}, kScales);
  integers.scale_row_step = scales->dims[0];
  integers.group_of = even_groups(reader, integers.groups);
  return grouped_weight(reader.stem, std::move(integers));
}

}  // namespace

bool is_awq(const LinearReader& reader) {
  const std::string& method = reader.settings.method;
  if (method == "awq") return true;
  if (method == "gptq") return false;
  const Tensor* qweight = reader.find(".qweight");
  return qweight != nullptr && has_shape(*qweight, {reader.out / 8, reader.in}) &&
         reader.find(".g_idx") == nullptr;
}

Weight gptq_linear(const LinearReader& reader) {
  const Tensor& qweight = *reader.find(".qweight");
  GroupedIntegers integers = with_scales(reader);
  const uint64_t bits = qweight.dims[1] * 32 / std::max<uint64_t>(reader.in, 1);
  if ((bits != 2 && bits != 3 && bits != 4 && bits != 8) || reader.in * bits % 32 != 0 ||
      reader.out * bits % 32 != 0)
    reader.corrupt(".qweight", "has the shape " + shape_text(qweight) +
                                   ", which is no packing of " + std::to_string(reader.in) +
                                   " inputs in 2, 3, 4 or 8 bits");
  reader.need(".qweight", {reader.out, reader.in * bits / 32}, kWords);
  integers.levels = packed(qweight, static_cast<uint32_t>(bits));
  integers.levels.down = integers.levels.straddle = true;
  integers.zeros = packed(reader.need(".qzeros", {reader.out * bits / 32, integers.groups}, kWords),
                          static_cast<uint32_t>(bits));
  integers.zeros.straddle = true;
  integers.zero_offset = zero_offset(reader, integers);
  integers.group_of = read_groups(reader, ".g_idx", integers.groups);
  return grouped_weight(reader.stem, std::move(integers));
}

Weight awq_linear(const LinearReader& reader) {
  const Tensor& qweight = *reader.find(".qweight");
  const std::string& version = reader.settings.version;
  if (!version.empty() && version != "gemm" && version != "gemv")
    reader.unsupported(
        ".qweight", "is packed for '" + version + "', which is not supported (gemm and gemv are)");
  // The shapes of the two differ unless the layer is square; then the label decides.
  const bool gemm = has_shape(qweight, {reader.out / 8, reader.in}) &&
                    (version != "gemv" || !has_shape(qweight, {reader.in / 8, reader.out}));
  if (reader.out % 8 != 0 || reader.in % 8 != 0)
    reader.corrupt(".qweight", "packs eights, but the layer is " + std::to_string(reader.in) +
                                   " by " + std::to_string(reader.out));
  return gemm ? awq_gemm(reader, qweight) : awq_gemv(reader, qweight);
}

Weight compressed_linear(const LinearReader& reader) {
  const Tensor& weight = *reader.find(".weight_packed");
  if (weight.type == TensorType::kU8) return compressed_fp4_linear(reader);
  GroupedIntegers integers = of_layer(reader, some_scales(reader, ".weight_scale").dims[0]);
  integers.scales = &reader.need(".weight_scale", {integers.groups, reader.out}, kScales);
  integers.scale_row_step = integers.groups;
  for (const uint32_t bits : {4u, 8u, 2u, 3u, 5u, 6u, 7u})
    if (integers.levels.words == nullptr &&
        packed(weight, bits).line_words(reader.in) == weight.dims[0])
      integers.levels = packed(weight, bits);
  if (integers.levels.words == nullptr)
    reader.corrupt(".weight_packed", "has the shape " + shape_text(weight) +
                                         ", which is no packing of " + std::to_string(reader.in) +
                                         " inputs");
  reader.need(".weight_packed", {weight.dims[0], reader.out}, kWords);
  const uint32_t bits = integers.levels.bits;
  integers.zero = 1u << (bits - 1);
  if (reader.find(".weight_zero_point") != nullptr) {
    integers.zeros.bits = bits;
    const uint64_t lines = integers.zeros.line_words(reader.out);
    integers.zeros =
        packed(reader.need(".weight_zero_point", {integers.groups, lines}, kWords), bits);
    integers.zeros.down = true;
  }
  integers.group_of = read_groups(reader, ".weight_g_idx", integers.groups);
  return grouped_weight(reader.stem, std::move(integers));
}

}  // namespace spnl::modelkit
