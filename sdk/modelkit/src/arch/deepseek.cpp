// DeepSeek V2 and V3 (R1, Kimi K2): latent attention, and experts after some dense layers. Where
// transformers and other engines differ (eps of the latent norms, the score of a group in V2),
// transformers is followed.
#include <cmath>

#include "architectures.h"
#include "decoder.h"
#include "spnl/modelkit/weight_views.h"

namespace spnl::modelkit {
namespace {

constexpr Name kLatentDim{"attention.kv_lora_rank", "kv_lora_rank"};
constexpr Name kQueryLatentDim{"attention.q_lora_rank", "q_lora_rank"};
constexpr Name kRopeDim{"rope.dimension_count", "qk_rope_head_dim"};

constexpr Name kQueryA{"attn_q_a", "self_attn.q_a_proj"};
constexpr Name kQueryANorm{"attn_q_a_norm", "self_attn.q_a_layernorm"};
constexpr Name kQueryB{"attn_q_b", "self_attn.q_b_proj"};
constexpr Name kKvA{"attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa"};
constexpr Name kKvANorm{"attn_kv_a_norm", "self_attn.kv_a_layernorm"};
constexpr Name kKvB{"attn_kv_b", "self_attn.kv_b_proj"};
constexpr Name kKeyB{"attn_k_b", {}}, kValueB{"attn_v_b", {}};

Norm read_latent_norm(const ModelReader& in, const Style& style, const std::string& stem,
                      uint64_t size) {
  Norm norm = read_norm(in, style, stem, size);
  norm.eps = 1e-6;  // whatever the other norms have
  return norm;
}

/// What makes keys and values of the latent, head by head: one matrix in safetensors and older GGUF
/// files; two in newer ones, that of the keys transposed.
void read_heads(const ModelReader& in, uint32_t layer, const AttentionSpec& attention,
                LatentAttention& latent) {
  const uint64_t nope = latent.nope_dim, value = attention.value_dim;
  if (in.is_gguf() && in.has_linear(in.stem(layer, kKeyB))) {
    const Weight keys =
        in.tensor(in.stem(layer, kKeyB) + ".weight", {nope, latent.latent_dim, attention.heads});
    const Weight values =
        in.tensor(in.stem(layer, kValueB) + ".weight", {latent.latent_dim, value, attention.heads});
    for (uint32_t head = 0; head < attention.heads; ++head) {
      latent.k_b.push_back(keys.rows_of(head * uint64_t{latent.latent_dim}, latent.latent_dim));
      latent.v_b.push_back(values.rows_of(head * value, value));
    }
    return;
  }
  const Weight both =
      in.matrix(in.stem(layer, kKvB), latent.latent_dim, attention.heads * (nope + value));
  for (uint32_t head = 0; head < attention.heads; ++head) {
    const uint64_t first = head * (nope + value);
    latent.k_b.push_back(transposed(both.rows_of(first, nope)));
    latent.v_b.push_back(both.rows_of(first + nope, value));
  }
}

/// head_dim and value_dim; newer GGUF files keep the sizes of what is cached in the plain keys.
void read_head_sizes(const ModelReader& in, AttentionSpec& attention) {
  LatentAttention& latent = attention.latent;
  latent.rope_dim = in.uint(kRopeDim);
  if (in.is_gguf()) {
    const auto either = [&](std::string_view newer, std::string_view older) {
      return in.has_key({newer, {}}) ? in.uint({newer, {}}) : in.uint({older, {}});
    };
    attention.head_dim = either("attention.key_length_mla", "attention.key_length");
    attention.value_dim = either("attention.value_length_mla", "attention.value_length");
    if (attention.head_dim <= latent.rope_dim)
      in.corrupt("keys of " + std::to_string(attention.head_dim) + " dimensions have no room for " +
                 std::to_string(latent.rope_dim) + " rotary ones");
    latent.nope_dim = attention.head_dim - latent.rope_dim;
  } else {
    latent.nope_dim = in.uint({{}, "qk_nope_head_dim"});
    attention.head_dim = latent.nope_dim + latent.rope_dim;
    attention.value_dim = in.uint({{}, "v_head_dim"});
  }
}

AttentionSpec read_attention(const ModelReader& in, const Style& style, uint32_t layer,
                             uint64_t hidden) {
  AttentionSpec attention;
  LatentAttention& latent = attention.latent;
  attention.heads = in.uint_of_layer(keys::kHeads, layer, std::nullopt);
  attention.kv_heads = 1;  // the latent, for all heads
  latent.latent_dim = in.uint(kLatentDim);
  read_head_sizes(in, attention);
  const uint64_t q_rows = uint64_t{attention.heads} * attention.head_dim;
  if (in.has_linear(in.stem(layer, kQueryA))) {
    const uint32_t q_latent = in.uint(kQueryLatentDim);
    latent.q_a = in.linear(in.stem(layer, kQueryA), hidden, q_latent);
    latent.q_a_norm = read_latent_norm(in, style, in.stem(layer, kQueryANorm), q_latent);
    attention.q = in.linear(in.stem(layer, kQueryB), q_latent, q_rows);
  } else {
    attention.q = in.linear(in.stem(layer, style.names.q), hidden, q_rows);
  }
  latent.kv_a =
      in.linear(in.stem(layer, kKvA), hidden, uint64_t{latent.latent_dim} + latent.rope_dim);
  latent.kv_a_norm = read_latent_norm(in, style, in.stem(layer, kKvANorm), latent.latent_dim);
  attention.o = in.linear(in.stem(layer, style.names.o),
                          uint64_t{attention.heads} * attention.value_dim, hidden);
  read_heads(in, layer, attention, latent);
  return attention;
}

ExpertStyle read_expert_style(const ModelReader& in) {
  const bool is_v3 = in.is_gguf() ? in.find_uint({"expert_gating_func", {}}).value_or(1) == 2
                                  : in.architecture() == "deepseek_v3";
  ExpertStyle experts;
  experts.count = in.uint({"expert_count", "n_routed_experts"});
  experts.size = in.uint(keys::kExpertSize);
  experts.shared_size =
      experts.size * in.find_uint({"expert_shared_count", "n_shared_experts"}).value_or(0);
  Experts& rule = experts.rule;
  rule.gating = is_v3 ? Gating::kSigmoid : Gating::kSoftmax;
  rule.renormalise = in.is_gguf() ? in.flag_or({"expert_weights_norm", {}}, false)
                                  : is_v3 && in.flag_or({{}, "norm_topk_prob"}, true);
  rule.scale = in.positive_or({"expert_weights_scale", "routed_scaling_factor"},
                              is_v3 && !in.is_gguf() ? 2.5 : 1);
  rule.group_score_is_top_two = is_v3;
  if (is_v3 || in.is_gguf() || in.text({{}, "topk_method"}) == "group_limited_greedy") {
    const uint32_t groups = in.find_uint({"expert_group_count", "n_group"}).value_or(0);
    rule.groups = groups > 1 ? groups : 0;
    rule.groups_used = in.find_uint({"expert_group_used_count", "topk_group"}).value_or(0);
  }
  return experts;
}

}  // namespace

ModelSpec deepseek_spec(const ModelReader& in) {
  Style style;
  style.read_attention = read_attention;
  style.rope.gguf_pairs = RopePairs::kInterleaved;
  style.rope.hf_pairs =
      in.flag_or({{}, "rope_interleave"}, true) ? RopePairs::kInterleaved : RopePairs::kHalfSplit;
  if (in.has_key({"expert_count", "n_routed_experts"})) style.experts = read_expert_style(in);
  ModelSpec spec = read_decoder(in, style);

  const LatentAttention& latent = spec.layers[0].attention.latent;
  RopeParameters rope =
      in.rope_parameters(style.rope, latent.rope_dim, spec.context, "full_attention");
  if (in.is_gguf()) rope.magnitude = 1;  // these files count on mscale = mscale_all_dim
  spec.ropes.push_back(make_rope(rope, in.is_gguf() ? style.rope.gguf_pairs : style.rope.hf_pairs));
  spec.ropes[0].first_dim = latent.nope_dim;
  const double growth = yarn_magnitude(rope.factor, rope.mscale_all_dim);
  for (LayerSpec& layer : spec.layers)
    layer.attention.scale =
        growth * growth / std::sqrt(static_cast<double>(layer.attention.head_dim));
  return spec;
}

}  // namespace spnl::modelkit
