// Granite 3: Llama with four factors, dense or with experts (and perhaps a shared one).
#include "architectures.h"
#include "decoder.h"

namespace spnl::modelkit {
namespace {

ExpertStyle granite_experts(const ModelReader& in) {
  ExpertStyle experts;
  experts.count = in.uint(keys::kExperts);
  experts.size = in.uint(keys::kFfnSize);
  experts.shared_size =
      in.find_uint({"expert_shared_feed_forward_length", "shared_intermediate_size"}).value_or(0);
  experts.rule.gating = Gating::kSoftmaxOfTop;
  experts.names.router.hf = "block_sparse_moe.router.layer";
  experts.names.gate_up.hf = "block_sparse_moe.input_linear";
  experts.names.down.hf = "block_sparse_moe.output_linear";
  experts.names.shared_gate_up.hf = "shared_mlp.input_linear";
  experts.names.shared_down.hf = "shared_mlp.output_linear";
  return experts;
}

}  // namespace

ModelSpec granite_spec(const ModelReader& in) {
  Style style;
  style.rope.gguf_pairs = RopePairs::kInterleaved;  // the converter permutes q and k
  if (in.find_uint(keys::kExperts).value_or(0) > 0) style.experts = granite_experts(in);
  ModelSpec spec = read_decoder(in, style);
  spec.embedding_scale = in.positive_or({"embedding_scale", "embedding_multiplier"}, 1);
  spec.residual_scale = in.positive_or({"residual_scale", "residual_multiplier"}, 1);
  spec.logit_scale = 1 / in.positive_or({"logit_scale", "logits_scaling"}, 1);  // a divisor here
  for (LayerSpec& layer : spec.layers)
    layer.attention.scale = in.positive_or({"attention.scale", "attention_multiplier"},
                                           in.is_gguf() ? layer.attention.scale : 1);
  if (!in.flag_or({"rope.scaling.finetuned", {}}, true)) spec.ropes[0] = {};  // no positions at all
  return spec;
}

}  // namespace spnl::modelkit
