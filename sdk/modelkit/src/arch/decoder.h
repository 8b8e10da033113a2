#pragma once
/// Reads what decoders have in common. An architecture states in a Style how it differs, calls
/// read_decoder(), and sets what is left in the layers that come back.
#include <optional>
#include <vector>

#include "names.h"
#include "reader.h"
#include "spnl/modelkit/model_spec.h"

namespace spnl::modelkit {

struct Style;

struct ExpertStyle {
  ExpertNames names;
  Experts rule;  ///< all but the weights and `used`
  uint32_t count = 0, size = 0;
  uint32_t shared_size = 0;  ///< 0: no shared expert
  /// The experts' matrices of a layer, where they lie otherwise than ExpertNames can say.
  std::vector<Mlp> (*read_matrices)(const ModelReader& in, const ExpertStyle& style, uint32_t layer,
                                    uint64_t hidden) = nullptr;
};

enum class QkNorm { kNone, kPerHead, kOwnOfEachHead, kWholeWidth };

struct Style {
  Names names;
  RopeStyle rope;

  NormKind norm = NormKind::kRms;
  Name eps = keys::kRmsEps;
  double hf_eps = 1e-6;           ///< where config.json has none
  bool hf_norms_add_one = false;  ///< weights mean 1 + w; in GGUF files the 1 is in them

  // Where config.json has none. 0: hidden size / heads for head_dim, heads for kv_heads; the others
  // must be there.
  uint32_t hf_heads = 0, hf_kv_heads = 0, hf_head_dim = 0, hf_context = 0;
  QkNorm qk_norm = QkNorm::kNone;
  bool needs_qkv_bias = false;  ///< biases are read wherever they are; here they must be
  AttentionSpec (*read_attention)(const ModelReader& in, const Style& style, uint32_t layer,
                                  uint64_t hidden) = nullptr;  ///< of another kind

  Activation activation = Activation::kSilu;
  Name activation_key{{}, "hidden_act"};  ///< that may name another; empty: none may
  bool is_gated = true;                   ///< the feed-forward part has a gate
  bool is_parallel = false;
  std::optional<ExpertStyle> experts;  ///< of the layers that have a router
  bool is_tied = false;  ///< the head is the embedding, unless the file says otherwise
};

/// The whole model; its layers have no windows, the usual scale and all rope number 0, of
/// "full_attention".
ModelSpec read_decoder(const ModelReader& in, const Style& style);

inline uint32_t layer_count(const ModelSpec& spec) {
  return static_cast<uint32_t>(spec.layers.size());
}
void set_windows(ModelSpec& spec, const std::vector<uint32_t>& windows);  ///< one for each layer

Norm read_norm(const ModelReader& in, const Style& style, const std::string& stem, uint64_t size);
Experts read_experts(const ModelReader& in, const Style& style, uint32_t layer, uint64_t hidden);

/// Rows [first, first + count) with their biases.
Linear rows_of(const Linear& linear, uint64_t first, uint64_t count);

}  // namespace spnl::modelkit
