#include "spec_difference.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace spnl::modelkit {
namespace {

/// All that counts, by name.
class Facts {
 public:
  explicit Facts(const ModelSpec& spec) {
    add("hidden size", spec.hidden_size);
    add("vocabulary", spec.vocab_size);
    add("context", spec.context);
    add("embedding scale", spec.embedding_scale);
    add("residual scale", spec.residual_scale);
    add("logit scale", spec.logit_scale);
    add("logit softcap", spec.logit_softcap);
    add("output norm", spec.output_norm);
    add("output", spec.output);
    add("tied output", spec.output.weight.place() == spec.embedding.place());
    add("layers", static_cast<double>(spec.layers.size()));
    for (size_t i = 0; i < spec.layers.size(); ++i) {
      prefix_ = "layer " + std::to_string(i) + ": ";
      add(spec, spec.layers[i]);
    }
  }

  std::vector<std::pair<std::string, double>> list;

 private:
  void add(const char* name, double value) { list.emplace_back(prefix_ + name, value); }
  void add(const std::string& name, double value) { list.emplace_back(prefix_ + name, value); }

  void add(const std::string& name, const Weight& weight) {
    add(name + " rows", static_cast<double>(weight.rows()));
    add(name + " columns", static_cast<double>(weight.columns()));
  }
  void add(const std::string& name, const Linear& linear) {
    add(name, linear.weight);
    add(name + " bias", linear.bias);
  }
  void add(const std::string& name, const Norm& norm) {
    add(name, norm.weight);
    add(name + " bias", norm.bias);
    if (!norm) return;
    add(name + " kind", static_cast<double>(norm.kind));
    add(name + " eps", norm.eps);
  }
  void add(const std::string& name, const std::vector<double>& values) {
    add(name + " count", static_cast<double>(values.size()));
    for (const double value : values) add(name, value);
  }

  void add(const RopeSpec& rope) {
    add("rope frequency", rope.inv_freq);
    if (rope.inv_freq.empty()) return;
    add("first rotary dimension", rope.first_dim);
    add("rope magnitude", rope.magnitude);
    add("rope's long context", rope.long_from);
    add("long rope frequency", rope.long_inv_freq);
    add("long rope magnitude", rope.long_magnitude);
  }

  void add(const ModelSpec& spec, const LayerSpec& layer) {
    const AttentionSpec& attention = layer.attention;
    add("parallel", layer.parallel);
    add("norm before attention", layer.pre_attention);
    add("norm after attention", layer.post_attention);
    add("norm before feed-forward", layer.pre_ffn);
    add("norm after feed-forward", layer.post_ffn);
    add("heads", attention.heads);
    add("key-value heads", attention.kv_heads);
    add("head size", attention.head_dim);
    add("value size", attention.value_dim);
    add("window", attention.window >= spec.context ? 0 : attention.window);
    add("attention scale", attention.scale);
    add("attention softcap", attention.softcap);
    add("q", attention.q);
    add("k", attention.k);
    add("v", attention.v);
    add("o", attention.o);
    add("q norm", attention.q_norm);
    add("k norm", attention.k_norm);
    add("norm of the whole width", attention.norm_whole_width);
    add("sinks", attention.sinks);
    add("latent size", attention.latent.latent_dim);
    add("latent heads", static_cast<double>(attention.latent.k_b.size()));
    add(spec.ropes[attention.rope]);
    add(layer.mlp);
    add(layer.experts);
  }

  void add(const Mlp& mlp) {
    add("feed-forward size", mlp.size);
    if (!mlp) return;
    add("activation", static_cast<double>(mlp.activation));
    add("gate", mlp.gate);
    add("up", mlp.up);
    add("down", mlp.down);
  }

  void add(const Experts& experts) {
    add("experts", static_cast<double>(experts.experts.size()));
    if (!experts) return;
    add("router", experts.router);
    add("router's selection bias", experts.selection_bias);
    add("experts used", experts.used);
    add("gating", static_cast<double>(experts.gating));
    add("weights of experts made to sum to 1", experts.renormalise);
    add("scale of experts", experts.scale);
    add("jitter of experts", experts.jitter);
    add("groups of experts", experts.groups);
    add("groups used", experts.groups_used);
    add("score of groups", experts.group_score_is_top_two);
    for (const Mlp& expert : experts.experts) add(expert);
    add(experts.shared);
    add("gate of the shared expert", experts.shared_gate);
  }

  std::string prefix_;
};

std::string number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

}  // namespace

std::string difference(const ModelSpec& a, const ModelSpec& b) {
  const Facts ours(a), theirs(b);
  for (size_t i = 0; i < std::min(ours.list.size(), theirs.list.size()); ++i) {
    const auto& [name, value] = ours.list[i];
    const double other = theirs.list[i].second;
    if (theirs.list[i].first == name && value == other) continue;
    if (std::abs(value - other) > 1e-5 * std::max(std::abs(value), std::abs(other)))
      return name + " is " + number(value) + " and " + number(other);
  }
  return ours.list.size() == theirs.list.size() ? "" : "the parts of a layer";
}

}  // namespace spnl::modelkit
