#pragma once
#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "forward.h"
#include "spnl/modelkit/model_bundle.h"
#include "thread_pool.h"
#include "weights.h"

namespace spnl::cpu_ref {

struct ModelSettings {
  std::filesystem::path file;
  uint32_t threads = 1;
  modelkit::OpenOptions open;
  uint64_t max_context = 0;   ///< tokens; 0: the model's
  uint64_t memory_limit = 0;  ///< bytes; 0: what the machine has free
  Allocator allocator;
  Weights::Progress progress;
};

/// Counters over a model's life; they never fall, but for `running`, `waiting` and `cache_bytes`.
struct Counters {
  std::atomic<uint32_t> running{0}, waiting{0};
  std::atomic<uint64_t> prefill_tokens{0}, decode_tokens{0}, prefill_ns{0}, decode_ns{0},
      cache_bytes{0};
};

struct ScoreResult {
  std::vector<float> logprobs;  ///< [ids]; the first is NaN
  std::vector<int32_t> top_ids;
  std::vector<float> top_logits;  ///< [top_k], best first
  double log_sum_exp = 0;
};

/// A model with its weights in float32. Const use is thread-safe.
class Model {
 public:
  explicit Model(
      const ModelSettings& settings);  ///< throws modelkit::Error, and what progress throws

  const modelkit::ModelBundle& bundle() const { return bundle_; }
  const modelkit::ModelSpec& spec() const { return bundle_.spec; }
  const std::string& architecture() const { return architecture_; }
  uint64_t context() const { return context_; }
  uint64_t vocab() const;  ///< width of the logits
  /// Whether an id is a row that only pads the output to a round size. It may win like any other,
  /// as in other engines, and stands for no text.
  bool pads(int32_t id) const;
  std::string piece(int32_t id) const;  ///< the text of a token; specials have none
  uint64_t weight_bytes() const { return weights_ ? weights_->bytes() : 0; }
  bool can_generate() const { return transformer_ != nullptr; }
  const Transformer& transformer() const { return *transformer_; }
  Counters& counters() const { return counters_; }

  /// Throws modelkit::Error(kInvalid) for an id that has no embedding.
  void check_ids(const std::vector<int32_t>& ids) const;
  ScoreResult score(const std::vector<int32_t>& ids, uint32_t top_k) const;

 private:
  modelkit::ModelBundle bundle_;
  std::string architecture_;
  uint64_t context_ = 0;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<Weights> weights_;
  std::unique_ptr<Transformer> transformer_;
  mutable Counters counters_;
};

/// Natural logarithm of the sum of exp(logit).
double log_sum_exp(std::span<const float> logits);

/// The `k` largest, best first; ties go to the lower id.
std::vector<int32_t> top_ids(std::span<const float> logits, uint32_t k);

}  // namespace spnl::cpu_ref
