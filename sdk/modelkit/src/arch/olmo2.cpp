// OLMo 2 and 3: norms after both branches and none before; q and k normed over all heads at once.
// OLMo 3 has windows; rotary scaling is for its other layers.
#include "architectures.h"
#include "decoder.h"

namespace spnl::modelkit {

ModelSpec olmo2_spec(const ModelReader& in) {
  const bool is_olmo3 = in.architecture() == "olmo3";
  Style style;
  style.hf_eps = 1e-5;
  style.qk_norm = QkNorm::kWholeWidth;
  if (is_olmo3) style.rope.hf_base = 5e5;
  style.names.pre_attention = style.names.pre_ffn = {};
  style.names.post_attention = {"post_attention_norm", "post_attention_layernorm"};
  style.names.post_ffn = {"post_ffw_norm", "post_feedforward_layernorm"};
  ModelSpec spec = read_decoder(in, style);
  if (!is_olmo3 && !in.is_gguf()) return spec;
  set_windows(spec, in.windows(layer_count(spec), 4, is_olmo3 ? 4096 : 0));
  spec.ropes.push_back(
      in.rope(style.rope, spec.layers[0].attention.head_dim, spec.context, "sliding_attention"));
  for (LayerSpec& layer : spec.layers)
    if (layer.attention.window != 0) layer.attention.rope = 1;
  return spec;
}

}  // namespace spnl::modelkit
