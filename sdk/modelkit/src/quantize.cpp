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

TensorType type_for_rows(TensorType type, uint64_t columns) {
  using enum TensorType;
  const auto next = [](TensorType from) {
    switch (from) {
      case kQ2_K:
      case kQ3_K:
      case kIQ4_XS:
        return kIQ4_NL;
      case kQ4_K:
        return kQ5_0;
      case kQ5_K:
        return kQ5_1;
      case kQ6_K:
        return kQ8_0;
      default:
        return kF16;
    }
  };
  while (columns % tensor_type_info(type)->block_elements != 0) type = next(type);
  return type;
}

namespace {

class QuantizedRows final : public RowSource {
 public:
  QuantizedRows(const Weight& weight, TensorType type) : weight_(weight), type_(type) {}

  void read(uint64_t first, uint64_t count, std::byte* out) const override {
    const uint64_t columns = weight_.columns(), row_bytes = tensor_bytes(type_, columns);
    std::vector<float> row(columns);
    for (uint64_t i = 0; i < count; ++i) {
      weight_.read_floats(first + i, 1, row.data());
      quantize_row(type_, row.data(), columns, out + i * row_bytes);
    }
    if (weight_.data() != nullptr)
      forget_pages({weight_.data() + first * weight_.row_bytes(), count * weight_.row_bytes()});
  }

 private:
  const Weight weight_;
  const TensorType type_;
};

}  // namespace

Weight quantized(const Weight& weight, TensorType type) {
  Weight out(weight.name(), type, weight.rows(), weight.columns(),
             std::make_shared<QuantizedRows>(weight, type));
  out.set_input_order(weight.shared_input_order());
  return out;
}

}  // namespace spnl::modelkit
