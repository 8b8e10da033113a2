// SmolLM3: Llama, where some layers, usually every fourth, know no positions.
#include "architectures.h"
#include "decoder.h"

namespace spnl::modelkit {

ModelSpec smollm3_spec(const ModelReader& in) {
  Style style;
  style.rope.gguf_pairs = RopePairs::kInterleaved;  // the converter permutes q and k
  style.rope.hf_base = 2e6;
  style.is_tied = true;
  ModelSpec spec = read_decoder(in, style);
  const auto listed = in.find_list({{}, "no_rope_layers"});  // 0: none
  if (listed && listed->size() < spec.layers.size())
    in.corrupt(in.describe({{}, "no_rope_layers"}) + " has too few entries");
  const uint32_t interval = in.uint_or({{}, "no_rope_layer_interval"}, 4);
  spec.ropes.push_back({});
  for (uint32_t i = 0; i < layer_count(spec); ++i) {
    const bool turns = listed ? (*listed)[i] != 0 : (i + 1) % interval != 0;
    spec.layers[i].attention.rope = turns ? 0 : 1;
  }
  if (in.flag_or({{}, "use_sliding_window"}, false)) {
    std::vector<uint32_t> windows = in.windows(layer_count(spec), 0, 0);
    if (!in.has_key({{}, "layer_types"}))  // only layers without positions slide
      for (uint32_t i = 0; i < layer_count(spec); ++i)
        if (spec.layers[i].attention.rope == 0) windows[i] = 0;
    set_windows(spec, windows);
  }
  return spec;
}

}  // namespace spnl::modelkit
