#include "gguf_form.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "architectures.h"
#include "reader.h"
#include "spnl/modelkit/weight_views.h"

namespace spnl::modelkit {
namespace {

bool is_norm(std::string_view name) { return name.ends_with("norm.weight"); }

/// Matrices of experts, which folders hold in several ways and ModelSpec in one.
bool is_expert_matrix(std::string_view name) {
  return name.find("_exps") != name.npos ||
         (name.find("_shexp") != name.npos && name.find("gate_inp") == name.npos);
}

/// Notes the numbers, tensors and rotary scalings that an architecture asks for.
class Recorder final : public ReadObserver {
 public:
  explicit Recorder(GgufForm& form) : form_(form) {}

  void flag(Name key, bool value) override { note(key, value); }
  void whole(Name key, uint32_t value) override { note(key, value); }
  void real(Name key, double value) override { note(key, static_cast<float>(value)); }
  void whole_of_layer(Name key, uint32_t layer, uint32_t value) override {
    if (key.gguf.empty()) return;
    auto& list = lists_[std::string(key.gguf)];
    if (list.size() <= layer) list.resize(layer + 1);
    list[layer] = static_cast<int32_t>(value);
  }
  void stem(const std::string& stem, const std::string& gguf) override { stems_[stem] = gguf; }

  void tensor(const std::string& name, const Weight& weight) override {
    const std::string gguf = gguf_name(name);
    if (gguf.empty() || is_expert_matrix(gguf) || !seen_.insert(gguf).second) return;
    form_.tensors.push_back({gguf, weight, {}});
  }

  void rope(const RopeStyle& style, const RopeParameters& p, std::string_view layer_kind) override {
    if (layer_kind == "sliding_attention") {
      form_.values["rope.freq_base_swa"] = static_cast<float>(p.base);
      return;
    }
    style_ = style;
    rope_ = p;
  }

  /// After the last.
  void finish_lists() {
    for (auto& [key, list] : lists_) form_.values[key] = std::move(list);
  }
  const std::optional<RopeParameters>& rope_parameters() const { return rope_; }
  /// Pairs that turn together are neighbours there, and half a head apart here.
  bool permutes() const {
    return style_.gguf_pairs == RopePairs::kInterleaved && style_.hf_pairs == RopePairs::kHalfSplit;
  }

 private:
  /// Keys of one layout alone are settled by the architecture itself.
  void note(Name key, const GgufForm::Value& value) {
    if (!key.gguf.empty() && !key.hf.empty()) form_.values[std::string(key.gguf)] = value;
  }

  std::string gguf_name(const std::string& name) const {
    for (const std::string_view suffix : {"", ".weight", ".bias"}) {
      if (!name.ends_with(suffix)) continue;
      const auto stem = stems_.find(name.substr(0, name.size() - suffix.size()));
      if (stem == stems_.end()) continue;
      // What folders give no suffix is named whole, or is the router's bias.
      const bool is_whole = suffix.empty() && stem->second.ends_with(".weight");
      return stem->second + std::string(suffix.empty() && !is_whole ? ".bias" : suffix);
    }
    return "";
  }

  GgufForm& form_;
  std::map<std::string, std::string> stems_;
  std::map<std::string, std::vector<int32_t>> lists_;
  std::set<std::string> seen_;
  RopeStyle style_;
  std::optional<RopeParameters> rope_;
};

std::vector<float> floats_of(const Weight& weight) {
  std::vector<float> values(weight.elements());
  weight.read_floats(0, weight.rows(), values.data());
  return values;
}

Weight plus_one(const Weight& weight) {
  std::vector<float> values = floats_of(weight);
  for (float& value : values) value += 1;
  return own_vector(weight.name(), std::move(values));
}

/// Of the rows of all heads: first those of the first half of each head's pairs and their partners
/// in turns.
std::vector<uint32_t> interleaved_rows(uint64_t rows, uint32_t head_dim) {
  std::vector<uint32_t> order;
  order.reserve(rows);
  for (uint32_t head = 0; head < rows; head += head_dim)
    for (uint32_t i = 0; i < head_dim; ++i)
      order.push_back(head + i / 2 + (i % 2 == 0 ? 0 : head_dim / 2));
  return order;
}

Weight interleaved(const Weight& weight, uint32_t head_dim) {
  if (weight.rows() > 1) return picked_rows(weight, interleaved_rows(weight.rows(), head_dim));
  const std::vector<float> values = floats_of(weight);  // a bias
  std::vector<float> turned;
  for (const uint32_t i : interleaved_rows(values.size(), head_dim)) turned.push_back(values[i]);
  return own_vector(weight.name(), std::move(turned));
}

/// All rows in the usual order of columns.
Weight in_usual_order(const Weight& weight) {
  std::vector<uint32_t> rows(weight.rows());
  for (uint32_t i = 0; i < rows.size(); ++i) rows[i] = i;
  return picked_rows(weight, std::move(rows));
}

std::optional<uint32_t> layer_of(const std::string& name) {
  return name.starts_with("blk.") ? std::optional(static_cast<uint32_t>(std::stoul(name.substr(4))))
                                  : std::nullopt;
}

void convert(GgufTensor& tensor, const ModelSpec& spec, bool permutes) {
  Weight& weight = tensor.weight;
  if (is_norm(tensor.name) && spec.output_norm.weight_offset != 0) weight = plus_one(weight);
  const bool turns = tensor.name.find(".attn_q.") != std::string::npos ||
                     tensor.name.find(".attn_k.") != std::string::npos;
  if (turns && permutes)
    weight = interleaved(weight, spec.layers[*layer_of(tensor.name)].attention.head_dim);
  if (weight.input_order() != nullptr) weight = in_usual_order(weight);
  tensor.dims = {weight.columns()};
  if (weight.rows() > 1) tensor.dims.push_back(weight.rows());
}

void add_linear(const std::string& stem, const Linear& linear, GgufForm& form) {
  if (!linear) return;
  form.tensors.push_back({stem + ".weight",
                          in_usual_order(linear.weight),
                          {linear.weight.columns(), linear.weight.rows()}});
  if (linear.bias) form.tensors.push_back({stem + ".bias", linear.bias, {linear.bias.columns()}});
}

/// One part of all experts of a layer.
void add_stacked(const std::string& stem, const std::vector<Mlp>& experts, Linear Mlp::*part,
                 GgufForm& form) {
  std::vector<Weight> weights, biases;
  for (const Mlp& expert : experts) {
    if (!(expert.*part)) return;
    weights.push_back(in_usual_order((expert.*part).weight));
    if ((expert.*part).bias) biases.push_back((expert.*part).bias);
  }
  const Weight& first = weights.front();
  form.tensors.push_back({stem + ".weight",
                          joined_rows(weights, stem),
                          {first.columns(), first.rows(), experts.size()}});
  if (!biases.empty())
    form.tensors.push_back(
        {stem + ".bias", joined_rows(biases, stem), {biases[0].columns(), experts.size()}});
}

void add_experts(GgufForm& form) {
  const ExpertNames names;
  for (uint32_t i = 0; i < form.spec.layers.size(); ++i) {
    const Experts& experts = form.spec.layers[i].experts;
    if (!experts) continue;
    const auto stem = [&](Name name) {
      return "blk." + std::to_string(i) + "." + std::string(name.gguf);
    };
    add_stacked(stem(names.gate), experts.experts, &Mlp::gate, form);
    add_stacked(stem(names.up), experts.experts, &Mlp::up, form);
    add_stacked(stem(names.down), experts.experts, &Mlp::down, form);
    add_linear(stem(names.shared_gate_proj), experts.shared.gate, form);
    add_linear(stem(names.shared_up), experts.shared.up, form);
    add_linear(stem(names.shared_down), experts.shared.down, form);
  }
}

void add_factors(const std::string& name, const std::vector<double>& factors, GgufForm& form) {
  form.rope_factors.push_back(
      {name, own_vector(name, {factors.begin(), factors.end()}), {factors.size()}});
}

/// What each frequency is divided by.
std::vector<double> divisors_of(const RopeParameters& p) {
  const RopeSpec scaled = make_rope(p, RopePairs::kHalfSplit);
  std::vector<double> divisors;
  for (size_t i = 0; i < scaled.inv_freq.size(); ++i)
    divisors.push_back(std::pow(p.base, -2.0 * static_cast<double>(i) / p.dims) /
                       scaled.inv_freq[i]);
  return divisors;
}

void add_rope(const RopeParameters& p, GgufForm& form) {
  using Kind = RopeParameters::Kind;
  auto& values = form.values;
  const auto real = [&](const char* key, double value) { values[key] = static_cast<float>(value); };
  values["rope.dimension_count"] = p.dims;
  real("rope.freq_base", p.base);
  if (p.kind == Kind::kLlama3) add_factors("rope_freqs.weight", divisors_of(p), form);
  if (p.kind == Kind::kLinear || p.kind == Kind::kYarn) {
    values["rope.scaling.type"] = std::string(p.kind == Kind::kYarn ? "yarn" : "linear");
    real("rope.scaling.factor", p.factor);
  }
  if (p.kind == Kind::kYarn || p.kind == Kind::kLongRope)
    values["rope.scaling.original_context_length"] = static_cast<uint32_t>(p.original_context);
  if (p.kind == Kind::kYarn) {
    if (p.beta_fast != 32) real("rope.scaling.yarn_beta_fast", p.beta_fast);
    if (p.beta_slow != 1) real("rope.scaling.yarn_beta_slow", p.beta_slow);
    const double growth = p.magnitude / yarn_magnitude(p.factor);
    if (p.mscale_all_dim != 0)
      real("rope.scaling.yarn_log_multiplier", 0.1 * p.mscale_all_dim);
    else if (std::abs(growth - 1) > 1e-6)
      real("rope.scaling.attn_factor", growth);
  }
  if (p.kind == Kind::kLongRope) {
    real("rope.scaling.attn_factor", p.magnitude);
    add_factors("rope_factors_long.weight", p.long_factors, form);
    add_factors("rope_factors_short.weight", p.short_factors, form);
  }
}

/// What folders say in other words.
void add_latent_values(GgufForm& form) {
  const AttentionSpec& attention = form.spec.layers[0].attention;
  if (!attention.latent) return;
  form.values["attention.key_length"] = attention.head_dim;
  form.values["attention.value_length"] = attention.value_dim;
  uint32_t dense = 0;
  while (dense < form.spec.layers.size() && !form.spec.layers[dense].experts) ++dense;
  form.values["leading_dense_block_count"] = dense;
  if (dense == form.spec.layers.size()) return;
  const Experts& experts = form.spec.layers[dense].experts;
  form.values["expert_gating_func"] = experts.gating == Gating::kSigmoid ? 2u : 1u;
  form.values["expert_weights_norm"] = experts.renormalise;
}

/// Keys that other programs want and our reader does not ask for.
void add_plain_values(const Config& config, GgufForm& form) {
  auto& values = form.values;
  values["vocab_size"] = form.spec.vocab_size;
  if (const auto length = values.find("attention.key_length"); length != values.end())
    values.emplace("attention.value_length", length->second);
  const Config text = config.get_object("text_config").value_or(config);
  if (const auto size = text.get_uint("intermediate_size"))
    values.emplace("feed_forward_length", static_cast<uint32_t>(*size));
}

}  // namespace

GgufForm gguf_form_of_folder(const TensorSource& tensors, const Config& config) {
  GgufForm form;
  Recorder recorder(form);
  form.architecture = gguf_architecture(config);
  form.spec = model_spec_from_folder(tensors, config, &recorder);
  recorder.finish_lists();
  if (recorder.permutes() && form.spec.layers[0].attention.latent)
    config.unsupported("rope_interleave", "false cannot be written as GGUF so far");
  for (GgufTensor& tensor : form.tensors) convert(tensor, form.spec, recorder.permutes());
  if (recorder.rope_parameters()) add_rope(*recorder.rope_parameters(), form);
  add_experts(form);
  add_latent_values(form);
  add_plain_values(config, form);
  return form;
}

}  // namespace spnl::modelkit
