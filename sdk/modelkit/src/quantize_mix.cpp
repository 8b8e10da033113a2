// Which tensor of a model gets which type.
#include <algorithm>
#include <cctype>
#include <charconv>

#include "spnl/modelkit/error.h"
#include "spnl/modelkit/quantize.h"
#include "spnl/modelkit/quantize_file.h"

namespace spnl::modelkit {
namespace {

using enum TensorType;

constexpr QuantMix kMixes[] = {
    {"F32", 0, kF32, 0},         {"F16", 1, kF16, 0},        {"BF16", 32, kBF16, 0},
    {"Q8_0", 7, kQ8_0, 0},       {"Q6_K", 18, kQ6_K, 0},     {"Q5_K_M", 17, kQ5_K, 'M'},
    {"Q5_K_S", 16, kQ5_K, 'S'},  {"Q5_1", 9, kQ5_1, 0},      {"Q5_0", 8, kQ5_0, 0},
    {"Q4_K_M", 15, kQ4_K, 'M'},  {"Q4_K_S", 14, kQ4_K, 'S'}, {"IQ4_NL", 25, kIQ4_NL, 0},
    {"IQ4_XS", 30, kIQ4_XS, 0},  {"Q4_1", 3, kQ4_1, 0},      {"Q4_0", 2, kQ4_0, 0},
    {"MXFP4_MOE", 38, kQ8_0, 0}, {"Q3_K_L", 13, kQ3_K, 'L'}, {"Q3_K_M", 12, kQ3_K, 'M'},
    {"Q3_K_S", 11, kQ3_K, 'S'},  {"Q2_K", 10, kQ2_K, 0},     {"Q2_K_S", 21, kQ2_K, 'S'},
};

constexpr uint32_t kMxfp4Moe = 38;
constexpr uint32_t kMixtralExperts =
    8;  ///< so few experts share small q, k, v, which then get more bits

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

/// The number in "blk.N.": nothing outside the layers.
std::optional<uint32_t> layer_of(std::string_view name) {
  if (!name.starts_with("blk.")) return std::nullopt;
  uint32_t layer = 0;
  const auto [end, error] = std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  return error == std::errc() ? std::optional(layer) : std::nullopt;
}

bool stays(const Tensor& tensor) {
  static constexpr std::string_view kKept[] = {
      "_norm.weight", "ffn_gate_inp", "position_embd",       "token_types",
      "attn_rel_b",   "ssm_conv1d",   "shortconv.conv",      "time_mix_",
      "altup",        "laurel",       "per_layer_model_proj"};
  if (tensor.n_dims < 2 || !tensor.name.ends_with("weight")) return true;
  return std::any_of(std::begin(kKept), std::end(kKept), [&](std::string_view part) {
    return tensor.name.find(part) != std::string_view::npos;
  });
}

bool fills_blocks(uint64_t row, TensorType type) {
  return row % tensor_type_info(type)->block_elements == 0;
}

class Rules {
 public:
  Rules(const QuantMix& mix, const MixFacts& facts) : mix_(mix), facts_(facts) {}

  TensorType type_of(const Tensor& tensor, bool is_output) const {
    const std::string_view name = tensor.name;
    const uint32_t layer = layer_of(name).value_or(0);
    const auto has = [&](std::string_view part) {
      return name.find(part) != std::string_view::npos;
    };
    const bool floats = mix_.type == kF32 || mix_.type == kF16 || mix_.type == kBF16;
    if (floats) return mix_.type;
    if (is_output)
      return mix_.type == kQ8_0 || !fills_blocks(tensor.dims[0], kQ6_K) ? kQ8_0 : kQ6_K;
    if (mix_.file_type == kMxfp4Moe) return tensor.n_dims > 2 ? kMXFP4 : kQ8_0;
    if (has("attn_v.weight")) return value_type(layer);
    if (has("attn_k.weight")) return few_experts() ? kQ8_0 : mix_.type;
    if (has("ffn_down")) return down_type(layer);
    if (has("attn_output.weight")) return attention_output_type();
    if (has("attn_qkv.weight")) return fused_type();
    return mix_.type;
  }

 private:
  bool is(TensorType type, char size) const { return mix_.type == type && mix_.size == size; }
  bool few_experts() const { return facts_.experts == kMixtralExperts; }
  uint32_t group() const { return facts_.kv_heads > 0 ? facts_.heads / facts_.kv_heads : 1; }
  bool early(uint32_t layer, uint32_t part) const { return layer < facts_.layers / part; }
  /// The first and the last eighth of the layers, and every third between.
  bool more_bits(uint32_t layer) const {
    const uint32_t eighth = facts_.layers / 8;
    return layer < eighth || layer >= 7 * facts_.layers / 8 || (layer - eighth) % 3 == 2;
  }

  TensorType value_type(uint32_t layer) const {
    TensorType type = mix_.type;
    if (is(kQ2_K, 0)) type = group() >= 4 ? kQ4_K : kQ3_K;
    if (is(kQ2_K, 'S') && group() >= 4) type = kQ4_K;
    if (is(kQ3_K, 'M')) type = layer < 2 ? kQ5_K : kQ4_K;
    if (is(kQ3_K, 'L')) type = kQ5_K;
    if ((mix_.type == kIQ4_NL || mix_.type == kIQ4_XS) && group() >= 4) type = kQ5_K;
    if ((is(kQ4_K, 'M') || is(kQ5_K, 'M')) && more_bits(layer)) type = kQ6_K;
    if (is(kQ4_K, 'S') && layer < 4) type = kQ5_K;
    return few_experts() ? kQ8_0 : type;
  }

  TensorType down_type(uint32_t layer) const {
    if (is(kQ2_K, 0)) return kQ3_K;
    if (is(kQ2_K, 'S')) return early(layer, 8) ? kQ4_K : kQ2_K;
    if (is(kQ3_K, 'M')) return early(layer, 16) ? kQ5_K : kQ4_K;
    if (is(kQ3_K, 'L')) return kQ5_K;
    if (is(kQ4_K, 'M') || is(kQ5_K, 'M')) return more_bits(layer) ? kQ6_K : mix_.type;
    const bool first = is(kQ4_K, 'S') || mix_.type == kIQ4_NL || mix_.type == kIQ4_XS;
    return first && early(layer, 8) ? kQ5_K : mix_.type;
  }

  TensorType attention_output_type() const {
    if (few_experts()) {
      const bool small = mix_.type == kQ2_K || mix_.type == kQ3_K || mix_.type == kQ4_K ||
                         mix_.type == kIQ4_NL || mix_.type == kIQ4_XS;
      return small && !is(kQ3_K, 'L') && !is(kQ2_K, 'S') ? kQ5_K : mix_.type;
    }
    if (is(kQ2_K, 0)) return kQ3_K;
    if (is(kQ3_K, 'M')) return kQ4_K;
    if (is(kQ3_K, 'L')) return kQ5_K;
    return mix_.type;
  }

  TensorType fused_type() const {
    if (is(kQ3_K, 'M') || is(kQ3_K, 'L')) return kQ4_K;
    if (is(kQ4_K, 'M')) return kQ5_K;
    if (is(kQ5_K, 'M')) return kQ6_K;
    return mix_.type;
  }

  const QuantMix& mix_;
  const MixFacts& facts_;
};

}  // namespace

std::optional<QuantMix> find_quant_mix(std::string_view name) {
  std::string wanted = upper(name);
  if (wanted == "Q3_K" || wanted == "Q4_K" || wanted == "Q5_K") wanted += "_M";
  for (const QuantMix& mix : kMixes)
    if (mix.name == wanted) return mix;
  return std::nullopt;
}

std::optional<QuantMix> quant_mix_of(uint64_t file_type) {
  for (const QuantMix& mix : kMixes)
    if (mix.file_type == file_type) return mix;
  return std::nullopt;
}

std::vector<std::string> quant_mix_names() {
  std::vector<std::string> names;
  for (const QuantMix& mix : kMixes) names.emplace_back(mix.name);
  return names;
}

std::vector<TensorType> quantized_types(const QuantMix& mix, const MixFacts& facts,
                                        std::span<const Tensor> tensors) {
  const bool untied = std::any_of(tensors.begin(), tensors.end(),
                                  [](const Tensor& t) { return t.name == "output.weight"; });
  const std::string_view output = untied ? "output.weight" : "token_embd.weight";
  const Rules rules(mix, facts);
  std::vector<TensorType> types;
  for (const Tensor& tensor : tensors) {
    TensorType type = tensor.type;
    if (!stays(tensor)) {
      type = rules.type_of(tensor, tensor.name == output);
      type = type_for_rows(type, tensor.dims[0]);
    }
    types.push_back(type);
  }
  return types;
}

}  // namespace spnl::modelkit
