#include "spnl/modelkit/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "quantize_encoders.h"
#include "spnl/modelkit/block_formats.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

void encode_f32(const float* x, const float*, uint8_t* out) { std::memcpy(out, x, sizeof *x); }
/// Values beyond float16's range become its largest; infinities stay what they are.
void encode_f16(const float* x, const float*, uint8_t* out) {
  constexpr float kLargest = 65504;
  quantize::put16(out, float_to_half(std::isinf(*x) ? *x : std::clamp(*x, -kLargest, kLargest)));
}
void encode_bf16(const float* x, const float*, uint8_t* out) {
  quantize::put16(out, float_to_bfloat16(*x));
}

quantize::Encoder element_encoder(TensorType type) {
  using enum TensorType;
  return type == kF32    ? encode_f32
         : type == kF16  ? encode_f16
         : type == kBF16 ? encode_bf16
                         : nullptr;
}

quantize::Encoder block_encoder(TensorType type) {
  const quantize::Encoder encoder = quantize::small_block_encoder(type);
  return encoder != nullptr ? encoder : quantize::k_block_encoder(type);
}

void make_finite(const float* values, uint32_t n, float* out) {
  for (uint32_t i = 0; i < n; ++i)
    out[i] = std::isnan(values[i])
                 ? 0
                 : std::clamp(values[i], -quantize::kLargestValue, quantize::kLargestValue);
}

}  // namespace

bool can_quantize(TensorType type) {
  return element_encoder(type) != nullptr || block_encoder(type) != nullptr;
}

void quantize_row(TensorType type, const float* values, uint64_t elements, void* out,
                  const float* importance) {
  auto* to = static_cast<uint8_t*>(out);
  const auto info = tensor_type_info(type);
  if (const auto encode = element_encoder(type)) {
    for (uint64_t i = 0; i < elements; ++i, to += info->block_bytes)
      encode(values + i, nullptr, to);
    return;
  }
  const auto encode = block_encoder(type);
  if (encode == nullptr)
    throw Error(ErrorCode::kUnsupported,
                "weights cannot be quantised to " +
                    (info ? std::string(info->name) : std::to_string(static_cast<uint32_t>(type))));
  float block[256];
  for (uint64_t i = 0; i < elements; i += info->block_elements, to += info->block_bytes) {
    make_finite(values + i, info->block_elements, block);
    encode(block, importance != nullptr ? importance + i : nullptr, to);
  }
}

}  // namespace spnl::modelkit
