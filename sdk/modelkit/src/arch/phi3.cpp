// Phi 3, 3.5 and 4: Llama with q, k and v in one matrix, gate and up in another, and longrope.
#include "architectures.h"
#include "decoder.h"

namespace spnl::modelkit {

ModelSpec phi3_spec(const ModelReader& in) {
  Style style;
  style.hf_eps = 1e-5;
  style.rope.is_partial = true;
  style.rope.su_and_yarn_are_longrope = true;
  ModelSpec spec = read_decoder(in, style);
  set_windows(spec, in.windows(layer_count(spec), 0, 0));
  return spec;
}

}  // namespace spnl::modelkit
