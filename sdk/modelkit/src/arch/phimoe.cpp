// Phi 3.5 MoE: layer norms with bias, and experts chosen by sparsemixer. GGUF files hold the same
// weights, so they are run the same way.
#include "architectures.h"
#include "decoder.h"

namespace spnl::modelkit {

ModelSpec phimoe_spec(const ModelReader& in) {
  Style style;
  style.norm = NormKind::kLayer;  // in spite of the names of the keys
  style.hf_eps = 1e-5;
  if (in.has_key(keys::kLayerNormEps)) style.eps = keys::kLayerNormEps;
  style.rope.hf_base = 1e6;
  style.rope.never_long = true;
  ExpertStyle experts;
  experts.count = in.uint(keys::kExperts);
  experts.size = in.uint(keys::kFfnSize);
  experts.rule.gating = Gating::kSparseMixer;
  experts.rule.jitter = in.positive_or({{}, "router_jitter_noise"}, 0.01);
  experts.names = ExpertNames::of_mixtral();
  style.experts = experts;
  ModelSpec spec = read_decoder(in, style);
  set_windows(spec, in.windows(layer_count(spec), 0, 0));
  return spec;
}

}  // namespace spnl::modelkit
