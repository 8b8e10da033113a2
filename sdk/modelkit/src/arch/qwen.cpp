// Qwen 2 and 3, dense and with experts. GGUF files say nothing of windows, of layers without
// experts (their tensors do) and of norm_topk_prob.
#include "architectures.h"
#include "decoder.h"

namespace spnl::modelkit {
namespace {

ExpertStyle qwen_experts(const ModelReader& in, bool gguf_renormalises) {
  ExpertStyle experts;
  const Name count{"expert_count", "num_experts"};
  experts.count = in.has_key(count) ? in.uint(count) : in.uint(keys::kExperts);
  experts.size = in.uint(keys::kExpertSize);
  experts.rule.renormalise =
      in.flag_or({"expert_weights_norm", "norm_topk_prob"}, in.is_gguf() && gguf_renormalises);
  return experts;
}

/// With use_sliding_window, layers from max_window_layers on slide; qwen3_moe has no such number.
void set_qwen_windows(const ModelReader& in, ModelSpec& spec) {
  if (in.is_gguf() || !in.flag_or({{}, "use_sliding_window"}, false)) return;
  std::vector<uint32_t> windows = in.windows(layer_count(spec), 0, 4096);
  const uint32_t full = in.architecture() == "qwen3_moe" || in.has_key({{}, "layer_types"})
                            ? 0
                            : in.find_uint({{}, "max_window_layers"}).value_or(28);
  for (uint32_t i = 0; i < windows.size() && i < full; ++i) windows[i] = 0;
  set_windows(spec, windows);
}

ModelSpec read(const ModelReader& in, const Style& style) {
  ModelSpec spec = read_decoder(in, style);
  set_qwen_windows(in, spec);
  return spec;
}

}  // namespace

ModelSpec qwen2_spec(const ModelReader& in) {
  Style style;
  style.needs_qkv_bias = true;
  return read(in, style);
}

ModelSpec qwen2_moe_spec(const ModelReader& in) {
  Style style;
  style.needs_qkv_bias = in.flag_or({{}, "qkv_bias"}, true);
  style.experts = qwen_experts(in, false);
  style.experts->shared_size =
      in.uint({"expert_shared_feed_forward_length", "shared_expert_intermediate_size"});
  ExpertNames& names = style.experts->names;
  names.shared_gate_proj.hf = "mlp.shared_expert.gate_proj";
  names.shared_up.hf = "mlp.shared_expert.up_proj";
  names.shared_down.hf = "mlp.shared_expert.down_proj";
  names.shared_weight = {"ffn_gate_inp_shexp", "mlp.shared_expert_gate"};
  return read(in, style);
}

ModelSpec qwen3_spec(const ModelReader& in) {
  Style style;
  style.hf_head_dim = 128;
  style.qk_norm = QkNorm::kPerHead;
  return read(in, style);
}

ModelSpec qwen3_moe_spec(const ModelReader& in) {
  Style style;
  style.qk_norm = QkNorm::kPerHead;
  style.experts = qwen_experts(in, true);
  return read(in, style);
}

}  // namespace spnl::modelkit
