#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "spnl/modelkit/model_spec.h"
#include "thread_pool.h"
#include "weights.h"

namespace spnl::cpu_ref {

/// Keys (rotated) and values of all tokens that one sequence has seen: per layer
/// [token][kv_head][head_dim].
struct KvCache {
  struct Layer {
    std::vector<float> keys, values;
  };
  std::vector<Layer> layers;
  uint64_t tokens = 0;

  uint64_t bytes() const;
};

/// The forward pass of a ModelSpec in float32: the definition that faster backends are compared
/// with. A token's result does not depend on how tokens are grouped into calls, nor on the number
/// of threads. Const: several sequences may be evaluated at once.
class Transformer {
 public:
  /// All three must outlive the object. Throws modelkit::Error(kUnsupported) for a spec that asks
  /// for more than forward() knows.
  Transformer(const modelkit::ModelSpec& spec, const Weights& weights, ThreadPool& pool);

  /// Evaluates `ids` (each below vocab_size) after what `cache` holds and adds them to it. Returns
  /// the normalised hidden states, [ids.size()][hidden_size]. On an exception the cache is as
  /// before.
  std::vector<float> forward(std::span<const int32_t> ids, KvCache& cache) const;

  /// The logits, [vocab_size], of one hidden state.
  void logits(std::span<const float> hidden, std::span<float> out) const;

 private:
  struct Linear {
    Matrix weight, bias;
  };
  struct Norm {
    Matrix weight;
    double eps, offset;
  };
  struct Layer {
    Norm pre_attention, pre_ffn, q_norm, k_norm;
    Linear q, k, v, o, gate, up, down;
  };
  using Rows = std::vector<float>;  // [token][width]

  Rows attention(const modelkit::LayerSpec& spec, const Layer& layer, const Rows& x,
                 uint64_t position, KvCache::Layer& cache) const;
  Rows feed_forward(const modelkit::LayerSpec& spec, const Layer& layer, const Rows& x) const;
  Rows normalise(const Rows& x, const Norm& norm) const;
  Rows linear(const Linear& linear, const Rows& x) const;
  void add_scaled(Rows& x, const Rows& change) const;

  const modelkit::ModelSpec& spec_;
  ThreadPool& pool_;
  Matrix embedding_;
  Norm output_norm_;
  Linear output_;
  std::vector<Layer> layers_;
};

}  // namespace spnl::cpu_ref
