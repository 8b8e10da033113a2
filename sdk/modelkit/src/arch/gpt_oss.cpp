// GPT-OSS: sinks, windows on every other layer, experts with biases and a clamped gate.
#include "architectures.h"
#include "decoder.h"
#include "spnl/modelkit/weight_views.h"

namespace spnl::modelkit {
namespace {

/// The experts of a folder: gate and up take turns as rows of one matrix, in blocks of MXFP4 or
/// transposed in plain floats. GGUF files have the usual tensors.
struct FusedExperts {
  Weight gate_up, down;  ///< [experts * outputs][inputs], or transposed [experts * inputs][outputs]
  bool is_transposed;

  Weight matrix(const Weight& all, uint32_t expert, uint64_t in, uint64_t out) const {
    return is_transposed ? transposed(all.rows_of(expert * in, in))
                         : all.rows_of(expert * out, out);
  }
};

Weight packed(const ModelReader& in, const std::string& stem) {
  const Tensor* scales = in.find_tensor(stem + "_scales");
  if (scales == nullptr) in.corrupt("tensor '" + stem + "_scales' is missing");
  return mxfp4_rows(*in.find_tensor(stem + "_blocks"), *scales);
}

FusedExperts read_fused(const ModelReader& in, const std::string& stem, uint32_t count,
                        uint64_t size, uint64_t hidden) {
  const std::string gate_up = stem + ".gate_up_proj", down = stem + ".down_proj";
  if (!in.has_tensor(gate_up + "_blocks") || !in.has_tensor(down + "_blocks"))
    return {in.tensor(gate_up, {2 * size, hidden, count}), in.tensor(down, {hidden, size, count}),
            true};
  FusedExperts experts{packed(in, gate_up), packed(in, down), false};
  if (experts.gate_up.rows() != count * 2 * size || experts.gate_up.columns() != hidden ||
      experts.down.rows() != count * hidden || experts.down.columns() != size)
    in.corrupt("the blocks of '" + stem + "' do not have the size that config.json tells");
  return experts;
}

std::vector<Mlp> read_folder_experts(const ModelReader& in, const ExpertStyle& style,
                                     uint32_t layer, uint64_t hidden) {
  const std::string stem = in.stem(layer, {{}, "mlp.experts"});
  const uint64_t size = style.size;
  const FusedExperts all = read_fused(in, stem, style.count, size, hidden);
  const Weight gate_up_bias = in.tensor(stem + ".gate_up_proj_bias", {2 * size, style.count});
  const Weight down_bias = in.tensor(stem + ".down_proj_bias", {hidden, style.count});
  std::vector<Mlp> experts(style.count);
  for (uint32_t e = 0; e < style.count; ++e) {
    const Weight both = all.matrix(all.gate_up, e, hidden, 2 * size);
    const Weight biases = gate_up_bias.rows_of(e, 1);
    experts[e].gate = {strided_rows(both, 0, 2, size), strided_elements(biases, 0, 2, size)};
    experts[e].up = {strided_rows(both, 1, 2, size), strided_elements(biases, 1, 2, size)};
    experts[e].down = {all.matrix(all.down, e, size, hidden), down_bias.rows_of(e, 1)};
  }
  return experts;
}

ExpertStyle read_expert_style(const ModelReader& in) {
  const Name count{"expert_count", "num_local_experts"};
  ExpertStyle experts;
  experts.count = in.has_key(count) ? in.uint(count) : in.uint({{}, "num_experts"});
  experts.size = in.uint({"expert_feed_forward_length", "intermediate_size"});
  experts.rule.gating = Gating::kSoftmaxOfTop;
  experts.names.router.hf = "mlp.router";
  if (!in.is_gguf()) experts.read_matrices = read_folder_experts;
  return experts;
}

}  // namespace

ModelSpec gpt_oss_spec(const ModelReader& in) {
  if (in.positive_or({{}, "swiglu_limit"}, 7) != 7 ||
      in.positive_or({{}, "swiglu_alpha"}, 1.702) != 1.702)
    in.unsupported("only swiglu_limit 7 and swiglu_alpha 1.702 are supported");
  Style style;
  style.hf_eps = 1e-5;
  style.hf_head_dim = 64;
  style.rope.hf_base = 150000;
  style.rope.truncates_yarn = false;
  style.activation = Activation::kClampedSwiglu;
  style.activation_key = {};
  style.names.pre_ffn.gguf = "post_attention_norm";
  style.experts = read_expert_style(in);
  ModelSpec spec = read_decoder(in, style);
  set_windows(spec, in.windows(layer_count(spec), 2, 128));
  for (uint32_t i = 0; i < layer_count(spec); ++i) {
    AttentionSpec& attention = spec.layers[i].attention;
    const std::string sinks = in.stem(i, {"attn_sinks.weight", "self_attn.sinks"});
    attention.sinks = in.tensor(sinks, {attention.heads});
  }
  return spec;
}

}  // namespace spnl::modelkit
