#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "spnl/modelkit/config.h"
#include "spnl/modelkit/gguf.h"
#include "spnl/modelkit/weight.h"

namespace spnl::modelkit {

enum class RopePairs { kHalfSplit, kInterleaved };

/// Rotary embedding with its scaling already worked into the frequencies: pair i turns by position * inv_freq[i].
struct RopeSpec {
  RopePairs pairs = RopePairs::kHalfSplit;
  uint32_t first_dim = 0;        ///< of a head, that turns; dimensions outside the rotary ones stay as they are
  std::vector<double> inv_freq;  ///< [rotary_dims / 2]; empty: this layer has no position (NoPE)
  double magnitude = 1.0;        ///< multiplies cos and sin, once for q and once for k

  /// Sequences of more than long_from tokens turn by these instead, from their first token on (longrope). 0: none.
  uint32_t long_from = 0;
  std::vector<double> long_inv_freq;  ///< [rotary_dims / 2]
  double long_magnitude = 1.0;
};

enum class NormKind { kRms, kLayer };

/// RMS: x / sqrt(mean(x^2) + eps) * (weight + weight_offset). Layer: the mean is subtracted first, bias added last.
struct Norm {
  Weight weight, bias;  ///< no weight: no norm here
  NormKind kind = NormKind::kRms;
  double eps = 1e-5;
  double weight_offset = 0;  ///< 1 where weights mean (1 + w)

  explicit operator bool() const { return static_cast<bool>(weight); }
};

/// y = weight x + bias.
struct Linear {
  Weight weight, bias;

  explicit operator bool() const { return static_cast<bool>(weight); }
};

/// Multi-head latent attention (arXiv:2405.04434, section 2.1). The cache holds, for each token, the normed latent
/// and the rotated key part that all heads share: latent_dim + rope_dim values, one "key-value head".
struct LatentAttention {
  uint32_t latent_dim = 0, nope_dim = 0, rope_dim = 0;  ///< head_dim is nope_dim + rope_dim
  Linear q_a;         ///< [q_latent][hidden]; none: q projects the hidden state itself
  Norm q_a_norm;      ///< of q_a's result, before AttentionSpec::q
  Linear kv_a;        ///< [latent_dim + rope_dim][hidden]: latent, then the shared key part
  Norm kv_a_norm;     ///< of the latent alone
  std::vector<Weight> k_b;  ///< per head [latent_dim][nope_dim]: the transpose of what makes keys of the latent
  std::vector<Weight> v_b;  ///< per head [value_dim][latent_dim]

  explicit operator bool() const { return latent_dim != 0; }
};

struct AttentionSpec {
  uint32_t heads = 0, kv_heads = 0;
  uint32_t head_dim = 0, value_dim = 0;  ///< of queries and keys; of values (equal but for latent attention)
  uint32_t rope = 0;                     ///< index into ModelSpec::ropes
  uint32_t window = 0;                   ///< sliding window in tokens, the query's own included; 0: none
  double scale = 0;                      ///< multiplies q.k
  double softcap = 0;                    ///< cap * tanh(score / cap) after scaling; 0: none
  Linear q, k, v, o;                     ///< with latent attention no k and v, and q may follow q_a
  /// Before turning. Weight [head_dim]: each head alike; [heads][head_dim]: each head with weights of its own; with
  /// norm_whole_width a vector over all heads at once.
  Norm q_norm, k_norm;
  bool norm_whole_width = false;
  Weight sinks;                          ///< [heads]: a logit that joins each softmax and is then dropped
  LatentAttention latent;
};

enum class Activation { kSilu, kGeluTanh, kGeluErf, kReluSquared, kClampedSwiglu };

/// down(activation(gate x) * (up x)); without gate: down(activation(up x)). kClampedSwiglu (gpt_oss): with
/// g = min(gate, 7), u = clamp(up, -7, 7): (u + 1) * g * sigmoid(1.702 g).
struct Mlp {
  uint32_t size = 0;
  Activation activation = Activation::kSilu;
  Linear gate, up, down;

  explicit operator bool() const { return static_cast<bool>(down); }
};

/// How router logits become the weights of the experts used.
enum class Gating {
  kSoftmax,       ///< over all experts, then the best are taken
  kSoftmaxOfTop,  ///< the best logits are taken, then softmax over those
  kSigmoid,
  kSparseMixer,   ///< one pick after the other, each with a softmax of its own (arXiv:2409.12136); not renormalised
};

/// Mixture of experts: sum of weight_e * expert_e(x) over the experts used, + shared(x).
struct Experts {
  Linear router;               ///< [experts][hidden]
  Weight selection_bias;       ///< [experts], added for the choice alone
  uint32_t used = 0;
  Gating gating = Gating::kSoftmax;
  bool renormalise = false;    ///< the weights of those used sum to 1
  double scale = 1;            ///< multiplies the weights
  double jitter = 0;           ///< of kSparseMixer
  uint32_t groups = 0, groups_used = 0;  ///< experts are chosen from the best groups only; 0: no groups
  bool group_score_is_top_two = false;   ///< a group's score: the sum of its two best; else its best
  std::vector<Mlp> experts;
  Mlp shared;                  ///< none: no shared expert
  Weight shared_gate;          ///< [1][hidden]: the shared expert is multiplied by sigmoid(shared_gate . x)

  explicit operator bool() const { return !experts.empty(); }
};

/// What one layer is:
///   serial:    x += post_attention(attention(pre_attention(x)));  x += post_ffn(ffn(pre_ffn(x)))
///   parallel:  n = pre_attention(x);  x += attention(n) + ffn(n)
/// where a norm without weight leaves its input as it is, and each branch is multiplied by residual_scale.
struct LayerSpec {
  bool parallel = false;
  Norm pre_attention, post_attention, pre_ffn, post_ffn;
  AttentionSpec attention;
  Mlp mlp;          ///< one of the two
  Experts experts;
};

/// A transformer as data: what the forward of any plugin needs to know. An architecture is one short file that fills
/// this in (arch/NAME.cpp, listed in arch/registry.cpp). The weights show memory of the file they come from.
struct ModelSpec {
  std::string architecture;  ///< as the file names it: "llama"
  std::string name;          ///< for people; may be empty
  uint32_t hidden_size = 0, vocab_size = 0, context = 0;
  double embedding_scale = 1, residual_scale = 1;
  double logit_scale = 1;          ///< multiplies the logits
  double logit_softcap = 0;
  std::vector<RopeSpec> ropes;
  std::vector<LayerSpec> layers;
  Weight embedding;  ///< [vocab_size][hidden_size]
  Norm output_norm;
  Linear output;     ///< its weight is the embedding where they are tied
};

/// Reads the spec from metadata and checks that each tensor it wants exists with the right shape. Throws
/// Error(kUnsupported) for an unknown architecture (listing the known ones) and kCorrupt for missing or contradictory
/// metadata, naming key or tensor.
ModelSpec model_spec_from_gguf(const GgufFile& file);
/// The same for a Hugging Face folder. `config`: its config.json, whole.
ModelSpec model_spec_from_folder(const TensorSource& tensors, const Config& config);

/// Calls f(weight) for every weight that is there, in the order of the layers; tied ones twice.
template <class F>
void for_each_weight(const ModelSpec& spec, F&& f);

}  // namespace spnl::modelkit

#include "spnl/modelkit/model_spec_weights.h"
