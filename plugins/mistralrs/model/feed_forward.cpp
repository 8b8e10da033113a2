#include "model/transformer.h"

namespace spnl::mistralrs {

cpu::Activation to_activation(modelkit::Activation activation) {
  switch (activation) {
    case modelkit::Activation::kSilu:
      return cpu::Activation::kSilu;
    case modelkit::Activation::kGeluTanh:
      return cpu::Activation::kGeluTanh;
    case modelkit::Activation::kGeluErf:
      return cpu::Activation::kGeluErf;
    case modelkit::Activation::kReluSquared:
      return cpu::Activation::kReluSquared;
    case modelkit::Activation::kClampedSwiglu:
      break;
  }
  return cpu::Activation::kClampedSwiglu;
}

/// activation(gate(n)) * up(n), or activation(up(n)) without a gate   with f = size
Rows Transformer::feed_forward(const modelkit::Mlp& spec, const LoadedMlp& w, Rows n) {
  const Rows up = workspace_.up(n.count, spec.size);  // [m, f]
  if (!w.gate) {
    linear(n, w.up, up);                                    // [m, h] -> [m, f]
    ops_.activate(to_activation(spec.activation), up, {});  // [m, f]
    return up;
  }
  const Rows gate = workspace_.gate(n.count, spec.size);  // [m, f]
  const LinearOutput gate_up[] = {{w.gate.weight.get(), w.gate.bias.floats(), gate},
                                  {w.up.weight.get(), w.up.bias.floats(), up}};
  ops_.linear(n, gate_up);                                  // [m, h] -> [m, f] twice
  ops_.activate(to_activation(spec.activation), gate, up);  // [m, f]
  return gate;
}

}  // namespace spnl::mistralrs
