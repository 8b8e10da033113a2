// GLM-4 of 2025: norms before and after both branches, half of each head turned.
#include "architectures.h"
#include "decoder.h"

namespace spnl::modelkit {

ModelSpec glm4_spec(const ModelReader& in) {
  Style style;
  style.hf_eps = 1.5625e-7;
  style.hf_head_dim = 128;
  style.rope.gguf_pairs = style.rope.hf_pairs = RopePairs::kInterleaved;
  style.rope.is_partial = true;
  style.rope.hf_part = 0.5;
  style.names.post_attention = {"post_attention_norm", "post_self_attn_layernorm"};
  style.names.post_ffn = {"post_ffw_norm", "post_mlp_layernorm"};
  return read_decoder(in, style);
}

}  // namespace spnl::modelkit
