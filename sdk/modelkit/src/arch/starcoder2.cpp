// StarCoder2: layer norms, biases everywhere, a feed-forward part without gate.
#include "architectures.h"
#include "decoder.h"

namespace spnl::modelkit {

ModelSpec starcoder2_spec(const ModelReader& in) {
  Style style;
  style.norm = NormKind::kLayer;
  style.eps = {"attention.layer_norm_epsilon", "norm_epsilon"};
  style.hf_eps = 1e-5;
  style.activation = Activation::kGeluTanh;
  style.is_gated = false;
  style.is_tied = true;
  style.names.up.hf = "mlp.c_fc";
  style.names.down.hf = "mlp.c_proj";
  ModelSpec spec = read_decoder(in, style);
  set_windows(spec, in.windows(layer_count(spec), 0, 0));
  return spec;
}

}  // namespace spnl::modelkit
