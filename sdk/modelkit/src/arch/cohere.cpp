// Command-R and Command-R7B: attention and feed-forward side by side after one layer norm without
// bias, logits multiplied by a scale.
#include "architectures.h"
#include "decoder.h"

namespace spnl::modelkit {
namespace {

Style cohere_style() {
  Style style;
  style.norm = NormKind::kLayer;
  style.eps = keys::kLayerNormEps;
  style.hf_eps = 1e-5;
  style.is_parallel = true;
  style.is_tied = true;
  style.rope.gguf_pairs = style.rope.hf_pairs = RopePairs::kInterleaved;
  style.names.pre_ffn = {};
  return style;
}

ModelSpec read(const ModelReader& in, const Style& style) {
  ModelSpec spec = read_decoder(in, style);
  spec.logit_scale = in.positive_or({"logit_scale", "logit_scale"}, 0.0625);  // a factor here
  return spec;
}

}  // namespace

ModelSpec cohere_spec(const ModelReader& in) {
  Style style = cohere_style();
  style.rope.hf_base = 5e5;
  if (in.has_linear(in.stem(0, style.names.q_norm))) style.qk_norm = QkNorm::kOwnOfEachHead;
  return read(in, style);
}

ModelSpec cohere2_spec(const ModelReader& in) {
  ModelSpec spec = read(in, cohere_style());
  set_windows(spec, in.windows(layer_count(spec), 4, 4096));
  spec.ropes.push_back({});  // layers without window know no positions
  for (LayerSpec& layer : spec.layers) layer.attention.rope = layer.attention.window != 0 ? 0 : 1;
  return spec;
}

}  // namespace spnl::modelkit
