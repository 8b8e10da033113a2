#include "spnl/modelkit/tensor_type.h"

namespace spnl::modelkit {

std::optional<TensorTypeInfo> tensor_type_info(TensorType type) {
  using enum TensorType;
  switch (type) {
    case kF32:
      return TensorTypeInfo{"F32", 1, 4, true};
    case kF16:
      return TensorTypeInfo{"F16", 1, 2, true};
    case kBF16:
      return TensorTypeInfo{"BF16", 1, 2, true};
    case kQ4_0:
      return TensorTypeInfo{"Q4_0", 32, 18, true};
    case kQ4_1:
      return TensorTypeInfo{"Q4_1", 32, 20, true};
    case kQ5_0:
      return TensorTypeInfo{"Q5_0", 32, 22, true};
    case kQ5_1:
      return TensorTypeInfo{"Q5_1", 32, 24, true};
    case kQ8_0:
      return TensorTypeInfo{"Q8_0", 32, 34, true};
    case kQ8_1:
      return TensorTypeInfo{"Q8_1", 32, 36, false};
    case kQ2_K:
      return TensorTypeInfo{"Q2_K", 256, 84, true};
    case kQ3_K:
      return TensorTypeInfo{"Q3_K", 256, 110, true};
    case kQ4_K:
      return TensorTypeInfo{"Q4_K", 256, 144, true};
    case kQ5_K:
      return TensorTypeInfo{"Q5_K", 256, 176, true};
    case kQ6_K:
      return TensorTypeInfo{"Q6_K", 256, 210, true};
    case kQ8_K:
      return TensorTypeInfo{"Q8_K", 256, 292, false};
    case kIQ2_XXS:
      return TensorTypeInfo{"IQ2_XXS", 256, 66, true};
    case kIQ2_XS:
      return TensorTypeInfo{"IQ2_XS", 256, 74, true};
    case kIQ3_XXS:
      return TensorTypeInfo{"IQ3_XXS", 256, 98, true};
    case kIQ1_S:
      return TensorTypeInfo{"IQ1_S", 256, 50, true};
    case kIQ4_NL:
      return TensorTypeInfo{"IQ4_NL", 32, 18, true};
    case kIQ3_S:
      return TensorTypeInfo{"IQ3_S", 256, 110, true};
    case kIQ2_S:
      return TensorTypeInfo{"IQ2_S", 256, 82, true};
    case kIQ4_XS:
      return TensorTypeInfo{"IQ4_XS", 256, 136, true};
    case kI8:
      return TensorTypeInfo{"I8", 1, 1, false};
    case kI16:
      return TensorTypeInfo{"I16", 1, 2, false};
    case kI32:
      return TensorTypeInfo{"I32", 1, 4, false};
    case kI64:
      return TensorTypeInfo{"I64", 1, 8, false};
    case kF64:
      return TensorTypeInfo{"F64", 1, 8, true};
    case kIQ1_M:
      return TensorTypeInfo{"IQ1_M", 256, 56, true};
    case kTQ1_0:
      return TensorTypeInfo{"TQ1_0", 256, 54, true};
    case kTQ2_0:
      return TensorTypeInfo{"TQ2_0", 256, 66, true};
    case kMXFP4:
      return TensorTypeInfo{"MXFP4", 32, 17, true};
    case kNVFP4:
      return TensorTypeInfo{"NVFP4", 64, 36, true};
    case kQ1_0:
      return TensorTypeInfo{"Q1_0", 128, 18, true};
    case kQ2_0:
      return TensorTypeInfo{"Q2_0", 64, 18, true};
    case kU8:
      return TensorTypeInfo{"U8", 1, 1, false};
    case kBool:
      return TensorTypeInfo{"BOOL", 1, 1, false};
    case kU16:
      return TensorTypeInfo{"U16", 1, 2, false};
    case kU32:
      return TensorTypeInfo{"U32", 1, 4, false};
    case kU64:
      return TensorTypeInfo{"U64", 1, 8, false};
    case kF8_E4M3:
      return TensorTypeInfo{"F8_E4M3", 1, 1, true};
    case kF8_E5M2:
      return TensorTypeInfo{"F8_E5M2", 1, 1, true};
    case kF8_E8M0:
      return TensorTypeInfo{"F8_E8M0", 1, 1, true};
  }
  return std::nullopt;
}

uint64_t tensor_bytes(TensorType type, uint64_t elements) {
  const auto info = tensor_type_info(type);
  return info ? elements / info->block_elements * info->block_bytes : 0;
}

}  // namespace spnl::modelkit
