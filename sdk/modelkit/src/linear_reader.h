#pragma once
/// What the readers of packed linear layers share.
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "spnl/modelkit/config.h"
#include "spnl/modelkit/tensor_source.h"
#include "spnl/modelkit/weight.h"

namespace spnl::modelkit {

/// The part of quantization_config that tensors do not tell.
struct QuantSettings {
  std::string method;             ///< "gptq", "awq", ...; empty: none, or not told
  std::string checkpoint_format;  ///< of GPTQ: "gptq" (the usual), "gptq_v2"
  std::string version;            ///< of AWQ: "gemm", "gemv"
  std::optional<bool> symmetric;
  uint64_t group_size = 0;                         ///< 0: one group for all inputs, or not told
  uint64_t block_rows = 128, block_columns = 128;  ///< of FP8 with scales for blocks
};

/// One linear layer to read: module `stem`, [out][in].
struct LinearReader {
  const TensorSource& tensors;
  const QuantSettings& settings;
  const std::string& stem;
  const uint64_t in, out;

  const Tensor* find(std::string_view suffix) const;  ///< tensor stem + suffix, or null
  /// The tensor with exactly these dimensions, innermost first, in one of these types.
  const Tensor& need(std::string_view suffix, std::initializer_list<uint64_t> dims,
                     std::initializer_list<TensorType> types) const;
  [[noreturn]] void corrupt(std::string_view suffix, const std::string& why) const;
  [[noreturn]] void unsupported(std::string_view suffix, const std::string& why) const;
};

std::string shape_text(const Tensor& tensor);
bool has_shape(const Tensor& tensor, std::initializer_list<uint64_t> dims);

/// `stem`.qweight, .qzeros, .scales and perhaps .g_idx.
Weight gptq_linear(const LinearReader& reader);
/// The same tensors in the order of AWQ.
Weight awq_linear(const LinearReader& reader);
/// Is it AWQ's order rather than GPTQ's? By the shape of qweight where quantization_config does not
/// tell.
bool is_awq(const LinearReader& reader);
/// `stem`.weight_packed, .weight_scale, ... of compressed-tensors.
Weight compressed_linear(const LinearReader& reader);
/// The same with .weight_packed U8: pairs of FP4.
Weight compressed_fp4_linear(const LinearReader& reader);
/// `stem`.weight in FP8 or int8 with .weight_scale or .weight_scale_inv.
Weight scaled_linear(const LinearReader& reader);
/// `stem`.weight of bitsandbytes with .weight.absmax (4 bit) or .SCB (8 bit).
Weight bitsandbytes_linear(const LinearReader& reader);

}  // namespace spnl::modelkit
