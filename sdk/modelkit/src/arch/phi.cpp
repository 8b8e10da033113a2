// Phi 1, 1.5 and 2: attention and feed-forward side by side after one layer norm, biases
// everywhere, a part of each head turned.
#include "architectures.h"
#include "decoder.h"

namespace spnl::modelkit {

ModelSpec phi_spec(const ModelReader& in) {
  Style style;
  style.norm = NormKind::kLayer;
  style.eps = keys::kLayerNormEps;
  style.hf_eps = 1e-5;
  style.activation = Activation::kGeluTanh;
  style.is_gated = false;
  style.is_parallel = true;
  style.rope.is_partial = true;
  style.rope.hf_part = 0.5;
  if (in.flag_or({{}, "qk_layernorm"}, false)) style.qk_norm = QkNorm::kPerHead;
  style.names.output_norm.hf = "final_layernorm";
  style.names.pre_ffn = {};
  style.names.o.hf = "self_attn.dense";
  style.names.q_norm.hf = "self_attn.q_layernorm";
  style.names.k_norm.hf = "self_attn.k_layernorm";
  style.names.up.hf = "mlp.fc1";
  style.names.down.hf = "mlp.fc2";
  return read_decoder(in, style);
}

}  // namespace spnl::modelkit
