// Llama 1 to 3, Mistral and Mixtral, and what was converted as such (SmolLM, ...). GGUF files hold
// all of them as "llama".
#include "architectures.h"
#include "decoder.h"

namespace spnl::modelkit {

ModelSpec llama_spec(const ModelReader& in) {
  Style style;
  // The converter permutes the rows of q and k, so that pairs are neighbours.
  style.rope.gguf_pairs = RopePairs::kInterleaved;
  const std::string& type = in.architecture();
  if (type == "mixtral") style.rope.hf_base = 1e6;
  if (const uint32_t count = in.find_uint(keys::kExperts).value_or(0); count > 0) {
    ExpertStyle experts;
    experts.count = count;
    experts.size = in.uint(keys::kFfnSize);
    experts.rule.renormalise = true;
    experts.names = ExpertNames::of_mixtral();
    style.experts = experts;
  }
  ModelSpec spec = read_decoder(in, style);
  for (LayerSpec& layer : spec.layers)
    layer.attention.scale = in.positive_or({"attention.scale", {}}, layer.attention.scale);
  if (in.is_gguf() || type != "llama")
    set_windows(spec, in.windows(layer_count(spec), 0, type == "mistral" ? 4096 : 0));
  return spec;
}

}  // namespace spnl::modelkit
