#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace spnl::modelkit {

/// Element and block types of tensors; values are the ids of the GGUF format, and from kFirstOwnType on our own for what
/// only other formats hold.
enum class TensorType : uint32_t {
  kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ4_1 = 3, kQ5_0 = 6, kQ5_1 = 7, kQ8_0 = 8, kQ8_1 = 9,
  kQ2_K = 10, kQ3_K = 11, kQ4_K = 12, kQ5_K = 13, kQ6_K = 14, kQ8_K = 15,
  kIQ2_XXS = 16, kIQ2_XS = 17, kIQ3_XXS = 18, kIQ1_S = 19, kIQ4_NL = 20, kIQ3_S = 21, kIQ2_S = 22, kIQ4_XS = 23,
  kI8 = 24, kI16 = 25, kI32 = 26, kI64 = 27, kF64 = 28, kIQ1_M = 29, kBF16 = 30, kTQ1_0 = 34, kTQ2_0 = 35,
  kMXFP4 = 39, kNVFP4 = 40, kQ1_0 = 41, kQ2_0 = 42,
  kU8 = 1000, kBool = 1001, kU16 = 1002, kU32 = 1003, kU64 = 1004,
  kF8_E4M3 = 1005, kF8_E5M2 = 1006, kF8_E8M0 = 1007,
};
inline constexpr uint32_t kFirstOwnType = 1000;

struct TensorTypeInfo {
  std::string_view name;    ///< as users write it: "Q4_K", "F16"
  uint32_t block_elements;  ///< a row is a whole number of blocks
  uint32_t block_bytes;
  bool can_dequantize;      ///< dequantize_row() of block_formats.h knows it
};

/// Empty for an id that this build does not know: its size cannot be known either.
std::optional<TensorTypeInfo> tensor_type_info(TensorType type);

/// Bytes of `elements` (a multiple of the type's block_elements) of a known type.
uint64_t tensor_bytes(TensorType type, uint64_t elements);

}  // namespace spnl::modelkit
