#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "attention.h"
#include "feed_forward.h"
#include "kv_cache.h"
#include "layers.h"
#include "spnl/modelkit/model_spec.h"
#include "thread_pool.h"
#include "weights.h"

namespace spnl::cpu_ref {

/// The forward pass of a ModelSpec in float32: the definition that faster backends are compared
/// with. A token's result does not depend on how tokens are grouped into calls, nor on the number
/// of threads. Const: several sequences may be evaluated at once.
class Transformer {
 public:
  /// All three must outlive the object.
  Transformer(const modelkit::ModelSpec& spec, const Weights& weights, ThreadPool& pool);

  /// Evaluates `ids` (each below vocab_size) after what `cache` holds and adds them to it. Returns
  /// the normalised hidden states, [ids.size()][hidden_size]. `length`: tokens that the sequence is
  /// known to get, when the prompt comes in pieces: a model may treat long sequences otherwise from
  /// their first token on (RopeSpec::long_from). One that grows long here is evaluated anew. On an
  /// exception the cache is as before.
  std::vector<float> forward(std::span<const int32_t> ids, KvCache& cache,
                             uint64_t length = 0) const;

  /// The logits, [vocab_size], of one hidden state.
  void logits(std::span<const float> hidden, std::span<float> out) const;

 private:
  struct Layer {
    Norm pre_attention, post_attention, pre_ffn, post_ffn;
    Attention attention;
    FeedForward ffn;
  };

  Rows evaluate(std::span<const int32_t> ids, KvCache& cache) const;
  void apply(size_t layer, const Step& step, KvCache::Layer& cache, Rows& x) const;
  void add_scaled(Rows& x, const Rows& change) const;

  const modelkit::ModelSpec& spec_;
  ThreadPool& pool_;
  Matrix embedding_;
  Norm output_norm_;
  Linear output_;
  std::vector<Layer> layers_;
  uint64_t long_from_ = 0;  ///< 0: never
};

}  // namespace spnl::cpu_ref
