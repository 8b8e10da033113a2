#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "spnl/modelkit/gguf.h"
#include "spnl/modelkit/tensor_source.h"

namespace spnl::modelkit {

enum class RopePairs { kHalfSplit, kInterleaved };
enum class Activation { kSilu, kGeluTanh };

/// Rotary embedding with its scaling already worked into the frequencies: pair i turns by position * inv_freq[i].
struct RopeSpec {
  RopePairs pairs = RopePairs::kHalfSplit;
  std::vector<double> inv_freq;  ///< [rotary_dims / 2]; empty: this layer has no position (NoPE)
  double magnitude = 1.0;        ///< multiplies cos and sin, once for q and once for k
};

/// What one layer is. Names are those of the tensors in the source; an empty name: the layer has no such tensor.
struct LayerSpec {
  uint32_t heads = 0, kv_heads = 0, head_dim = 0;
  uint32_t ffn_size = 0;
  uint32_t rope = 0;          ///< index into ModelSpec::ropes
  uint32_t window = 0;        ///< sliding window in tokens; 0: none
  double attention_scale = 0; ///< multiplies q.k
  double attention_softcap = 0;
  Activation activation = Activation::kSilu;
  std::string attention_norm, q, q_bias, k, k_bias, v, v_bias, o, o_bias, q_norm, k_norm;
  std::string ffn_norm, gate, gate_bias, up, up_bias, down, down_bias;
};

/// A transformer as data: what the forward of any plugin needs to know. An architecture is one short file that fills
/// this in (arch/NAME.cpp, listed in arch/registry.cpp); fields with defaults are switches other families need.
struct ModelSpec {
  std::string architecture;  ///< as the file names it: "llama"
  std::string name;          ///< for people; may be empty
  uint32_t hidden_size = 0, vocab_size = 0, context = 0;
  double norm_eps = 1e-5;
  double norm_weight_offset = 0;   ///< 1 where weights mean (1 + w)
  double embedding_scale = 1, residual_scale = 1;
  double logit_scale = 1;          ///< multiplies the logits
  double logit_softcap = 0;
  std::vector<RopeSpec> ropes;
  std::vector<LayerSpec> layers;
  std::string embedding, output_norm, output, output_bias;  ///< output equals embedding when tied
};

/// Reads the spec from metadata and checks that each tensor it names exists with the right shape. Throws
/// Error(kUnsupported) for an unknown architecture (listing the known ones) and kCorrupt for missing or contradictory
/// metadata, naming key or tensor.
ModelSpec model_spec_from_gguf(const GgufFile& file);

}  // namespace spnl::modelkit
