#pragma once
#include "kv_cache.h"
#include "layers.h"

namespace spnl::cpu_ref {

/// Where the tokens of one call stand.
struct Step {
  uint64_t position = 0;  ///< of the first one
  bool is_long = false;   ///< the sequence is a long one (RopeSpec::long_from)
};

/// Attention of one layer, "Attention Is All You Need" (arXiv:1706.03762) with rotary positions
/// (arXiv:2104.09864) and query heads that share keys and values (arXiv:2305.13245). Const:
/// thread-safe.
class Attention {
 public:
  /// All must outlive the object.
  Attention(const modelkit::AttentionSpec& spec, const modelkit::RopeSpec& rope,
            const Weights& weights, ThreadPool& pool);

  /// x: [token][hidden]. Adds the tokens to the cache; answers [token][hidden].
  Rows apply(const Rows& x, const Step& step, KvCache::Layer& cache) const;

 private:
  /// Keys and values of all tokens so far, [token][kv_head][size].
  struct Seen {
    const float *keys, *values;
    uint64_t key_size, value_size;      ///< of one head
    uint64_t key_stride, value_stride;  ///< from one token to the next
  };

  Rows apply_latent(const Rows& x, const Step& step, KvCache::Layer& cache) const;
  void turn(Rows& rows, uint64_t heads, uint64_t size, uint64_t first, const Step& step) const;
  Rows mix(const Rows& queries, uint64_t position, const Seen& seen) const;
  Rows per_head(const std::vector<Matrix>& matrices, const Rows& rows, uint64_t row_size) const;

  const modelkit::AttentionSpec& spec_;
  const modelkit::RopeSpec& rope_;
  ThreadPool& pool_;
  Linear q_, k_, v_, o_, q_a_, kv_a_;
  Norm q_norm_, k_norm_, q_a_norm_, kv_a_norm_;
  Matrix sinks_;
  std::vector<Matrix> k_b_, v_b_;
};

}  // namespace spnl::cpu_ref
