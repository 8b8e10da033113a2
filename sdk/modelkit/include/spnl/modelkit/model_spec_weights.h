#pragma once
/// for_each_weight of model_spec.h, which includes this file.
#include "spnl/modelkit/model_spec.h"

namespace spnl::modelkit {
namespace each_weight {

template <class F>
void of(const Weight& weight, F& f) {
  if (weight) f(weight);
}
template <class F>
void of(const Linear& linear, F& f) {
  of(linear.weight, f);
  of(linear.bias, f);
}
template <class F>
void of(const Norm& norm, F& f) {
  of(norm.weight, f);
  of(norm.bias, f);
}
template <class F>
void of(const Mlp& mlp, F& f) {
  of(mlp.gate, f);
  of(mlp.up, f);
  of(mlp.down, f);
}
template <class F>
void of(const AttentionSpec& attention, F& f) {
  for (const Linear* linear : {&attention.latent.q_a, &attention.q, &attention.k, &attention.v,
                               &attention.latent.kv_a, &attention.o})
    of(*linear, f);
  for (const Norm* norm : {&attention.q_norm, &attention.k_norm, &attention.latent.q_a_norm,
                           &attention.latent.kv_a_norm})
    of(*norm, f);
  of(attention.sinks, f);
  for (const Weight& weight : attention.latent.k_b) of(weight, f);
  for (const Weight& weight : attention.latent.v_b) of(weight, f);
}
template <class F>
void of(const Experts& experts, F& f) {
  of(experts.router, f);
  of(experts.selection_bias, f);
  for (const Mlp& expert : experts.experts) of(expert, f);
  of(experts.shared, f);
  of(experts.shared_gate, f);
}

}  // namespace each_weight

template <class F>
void for_each_weight(const ModelSpec& spec, F&& f) {
  each_weight::of(spec.embedding, f);
  for (const LayerSpec& layer : spec.layers) {
    each_weight::of(layer.pre_attention, f);
    each_weight::of(layer.attention, f);
    each_weight::of(layer.post_attention, f);
    each_weight::of(layer.pre_ffn, f);
    each_weight::of(layer.mlp, f);
    each_weight::of(layer.experts, f);
    each_weight::of(layer.post_ffn, f);
  }
  each_weight::of(spec.output_norm, f);
  each_weight::of(spec.output, f);
}

}  // namespace spnl::modelkit
