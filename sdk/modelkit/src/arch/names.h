#pragma once
/// What the layouts of model files call things: GGUF (metadata keys without "{arch}.", tensors
/// without "blk.N." and
/// ".weight") and Hugging Face folders (keys of config.json, modules without "model.layers.N.").
#include <string_view>

namespace spnl::modelkit {

/// One thing in both layouts; empty where a layout has no such thing.
struct Name {
  std::string_view gguf, hf;

  bool empty() const { return gguf.empty() && hf.empty(); }
};

namespace keys {
inline constexpr Name kLayers{"block_count", "num_hidden_layers"};
inline constexpr Name kHidden{"embedding_length", "hidden_size"};
inline constexpr Name kContext{"context_length", "max_position_embeddings"};
inline constexpr Name kHeads{"attention.head_count", "num_attention_heads"};
inline constexpr Name kKvHeads{"attention.head_count_kv", "num_key_value_heads"};
inline constexpr Name kHeadDim{"attention.key_length", "head_dim"};
inline constexpr Name kFfnSize{"feed_forward_length", "intermediate_size"};
inline constexpr Name kRmsEps{"attention.layer_norm_rms_epsilon", "rms_norm_eps"};
inline constexpr Name kLayerNormEps{"attention.layer_norm_epsilon", "layer_norm_eps"};
inline constexpr Name kWindow{"attention.sliding_window", "sliding_window"};
inline constexpr Name kWindowPattern{"attention.sliding_window_pattern", "sliding_window_pattern"};
inline constexpr Name kAttentionSoftcap{"attn_logit_softcapping", "attn_logit_softcapping"};
inline constexpr Name kLogitSoftcap{"final_logit_softcapping", "final_logit_softcapping"};
inline constexpr Name kExperts{"expert_count", "num_local_experts"};
inline constexpr Name kExpertsUsed{"expert_used_count", "num_experts_per_tok"};
inline constexpr Name kExpertSize{"expert_feed_forward_length", "moe_intermediate_size"};
}  // namespace keys

/// Tensors and modules of a decoder with their usual names. An architecture changes those that it
/// calls otherwise.
struct Names {
  Name embedding{"token_embd", "embed_tokens"}, output_norm{"output_norm", "norm"},
      output{"output", "lm_head"};

  // Norms of a layer by their place (see LayerSpec); without a name there is none.
  Name pre_attention{"attn_norm", "input_layernorm"}, post_attention;
  Name pre_ffn{"ffn_norm", "post_attention_layernorm"}, post_ffn;

  Name q{"attn_q", "self_attn.q_proj"}, k{"attn_k", "self_attn.k_proj"},
      v{"attn_v", "self_attn.v_proj"};
  Name qkv{"attn_qkv",
           "self_attn.qkv_proj"};  ///< instead of the three: their rows one after the other
  Name o{"attn_output", "self_attn.o_proj"};
  Name q_norm{"attn_q_norm", "self_attn.q_norm"}, k_norm{"attn_k_norm", "self_attn.k_norm"};

  Name gate{"ffn_gate", "mlp.gate_proj"}, up{"ffn_up", "mlp.up_proj"},
      down{"ffn_down", "mlp.down_proj"};
  Name gate_up{"ffn_up", "mlp.gate_up_proj"};  ///< instead of gate and up: rows of the gate first
};

/// Of a mixture of experts. "{}" stands for the number of the expert; without it, one tensor holds
/// them all.
struct ExpertNames {
  Name router{"ffn_gate_inp", "mlp.gate"},
      selection_bias{"exp_probs_b", "mlp.gate.e_score_correction_bias"};
  Name gate{"ffn_gate_exps", "mlp.experts.{}.gate_proj"},
      up{"ffn_up_exps", "mlp.experts.{}.up_proj"};
  Name down{"ffn_down_exps", "mlp.experts.{}.down_proj"};
  Name gate_up{"ffn_gate_up_exps",
               "mlp.experts.gate_up_proj"};  ///< instead of the two: rows of the gate first
  Name shared_gate_proj{"ffn_gate_shexp", "mlp.shared_experts.gate_proj"};
  Name shared_up{"ffn_up_shexp", "mlp.shared_experts.up_proj"};
  Name shared_down{"ffn_down_shexp", "mlp.shared_experts.down_proj"};
  Name shared_gate_up;  ///< instead of the first two
  Name shared_weight;   ///< see Experts::shared_gate

  /// As Mixtral's folders name them, and others after it.
  static ExpertNames of_mixtral() {
    ExpertNames names;
    names.router.hf = "block_sparse_moe.gate";
    names.gate.hf = "block_sparse_moe.experts.{}.w1";
    names.up.hf = "block_sparse_moe.experts.{}.w3";
    names.down.hf = "block_sparse_moe.experts.{}.w2";
    return names;
  }
};

}  // namespace spnl::modelkit
