// Gemma 1 to 3 (text). Norms mean 1 + w in safetensors and hold the 1 in GGUF files; embeddings are
// multiplied by the root of their size. Gemma 2 and 3 have norms before and after both branches.
#include <cmath>

#include "architectures.h"
#include "decoder.h"

namespace spnl::modelkit {
namespace {

Style gemma_style() {
  Style style;
  style.hf_norms_add_one = true;
  style.hf_head_dim = 256;
  style.activation = Activation::kGeluTanh;
  style.activation_key = {};  // old files say "gelu" and mean this one
  style.is_tied = true;
  return style;
}

Style gemma2_style() {
  Style style = gemma_style();
  style.activation_key.hf = "hidden_activation";
  style.names.post_attention = {"post_attention_norm", "post_attention_layernorm"};
  style.names.pre_ffn = {"ffn_norm", "pre_feedforward_layernorm"};
  style.names.post_ffn = {"post_ffw_norm", "post_feedforward_layernorm"};
  return style;
}

ModelSpec read(const ModelReader& in, const Style& style) {
  if (in.flag_or({{}, "use_bidirectional_attention"}, false))
    in.unsupported("attention in both directions (an embedding model) is not supported");
  ModelSpec spec = read_decoder(in, style);
  spec.embedding_scale = std::sqrt(static_cast<double>(spec.hidden_size));
  return spec;
}

/// Scores are multiplied by query_pre_attn_scalar^-0.5. GGUF files do not hold it; in the largest
/// model of each generation, recognised by its number of layers, it is hidden size / heads.
void set_scale(const ModelReader& in, size_t layers_of_largest, ModelSpec& spec) {
  for (LayerSpec& layer : spec.layers) {
    AttentionSpec& attention = layer.attention;
    double scalar = attention.head_dim;
    if (!in.is_gguf())
      scalar = in.positive_or({{}, "query_pre_attn_scalar"}, 256);
    else if (spec.layers.size() == layers_of_largest)
      scalar = static_cast<double>(spec.hidden_size) / attention.heads;
    attention.scale = in.positive_or({"attention.scale", {}}, 1 / std::sqrt(scalar));
  }
}

double softcap(const ModelReader& in, Name key, double absent) {
  const bool is_off = in.is_null(key) || (absent == 0 && !in.has_key(key));
  return is_off ? 0 : in.positive_or(key, absent);
}

void set_softcaps(const ModelReader& in, double of_attention, double of_logits, ModelSpec& spec) {
  for (LayerSpec& layer : spec.layers)
    layer.attention.softcap = softcap(in, keys::kAttentionSoftcap, of_attention);
  spec.logit_softcap = softcap(in, keys::kLogitSoftcap, of_logits);
}

}  // namespace

ModelSpec gemma_spec(const ModelReader& in) { return read(in, gemma_style()); }

ModelSpec gemma2_spec(const ModelReader& in) {
  ModelSpec spec = read(in, gemma2_style());
  set_scale(in, 46, spec);
  set_softcaps(in, 50, 30, spec);
  set_windows(spec, in.windows(layer_count(spec), 2, 4096));
  return spec;
}

ModelSpec gemma3_spec(const ModelReader& in) {
  Style style = gemma2_style();
  style.qk_norm = QkNorm::kPerHead;
  style.hf_heads = 8;
  style.hf_kv_heads = 4;
  style.hf_context = 131072;
  style.rope.hf_base = 1e6;
  ModelSpec spec = read(in, style);
  set_scale(in, 62, spec);
  set_softcaps(in, 0, 0, spec);
  set_windows(spec, in.windows(layer_count(spec), 6, 4096));

  RopeStyle local = style.rope;  // of layers with a window
  local.gguf_window_base = local.hf_base = 10000;
  spec.ropes.push_back(
      in.rope(local, spec.layers[0].attention.head_dim, spec.context, "sliding_attention"));
  for (LayerSpec& layer : spec.layers)
    if (layer.attention.window != 0) layer.attention.rope = 1;
  return spec;
}

}  // namespace spnl::modelkit
