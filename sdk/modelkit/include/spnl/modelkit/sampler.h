#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace spnl::modelkit {

/// DRY, "don't repeat yourself" (p-e-w, text-generation-webui #5637): a token that would make a
/// repetition of n >= allowed_length tokens longer loses multiplier * base^(n - allowed_length).
struct DryParams {
  float multiplier = 0;  ///< 0: off
  float base = 1.75f;
  int32_t allowed_length = 2;
  int32_t window = -1;  ///< most recent tokens searched; < 0: all
  /// [vocab]: tokens that no repetition reaches over; null: none.
  std::shared_ptr<const std::vector<bool>> breakers = nullptr;
};

/// How to choose the next token. Filters apply in the order logit bias, penalties, DRY, top-k,
/// typical, top-p, min-p, then temperature (as llama.cpp's default chain does).
struct SamplingParams {
  float temperature = 0;  ///< 0: greedy
  int32_t top_k = 0;      ///< 0: off
  float typical_p = 1;    ///< 1: off (Meister et al., arXiv:2202.00666)
  float top_p = 1;        ///< 1: off
  float min_p = 0;        ///< 0: off
  float repeat_penalty = 1, presence_penalty = 0, frequency_penalty = 0;
  int32_t penalty_window = 64;  ///< most recent tokens that penalties look at; < 0: all
  DryParams dry = {};
  std::vector<std::pair<int32_t, float>> logit_biases = {};  ///< id, what is added to its logit
  uint32_t min_tokens = 0;       ///< no id of end_ids before this many tokens were drawn
  std::vector<int32_t> end_ids = {};  ///< ids that end the answer
  uint64_t seed = 0;
  uint32_t sample = 0;  ///< draws depend on (seed, sample, number of the token) alone
};

/// Chooses tokens of one sequence. Not thread-safe; cheap to copy.
class Sampler {
 public:
  /// Throws Error(kInvalid) for parameters out of range or not finite.
  explicit Sampler(const SamplingParams& params);
  /// logits [vocab], raw; history: prompt and output so far, for penalties. Ties go to the lowest
  /// id. NaN counts as -inf. Same arguments and same count of earlier calls: same token.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> history);

 private:
  std::span<const float> adjust(std::span<const float> logits, std::span<const int32_t> history);
  void penalise(std::span<const int32_t> history);
  void penalise_repetitions(std::span<const int32_t> history);
  void collect_best(std::span<const float> logits, size_t count);
  double keep_typical(float highest);
  size_t select(std::span<const float> logits, float highest);
  int32_t choose(std::span<const float> logits, float highest, double random);
  double draw() const;

  SamplingParams params_;
  uint64_t drawn_ = 0;
  std::vector<std::pair<float, int32_t>> candidates_;
  std::vector<float> adjusted_;
  std::vector<int32_t> recent_;
  std::vector<int32_t> repeats_;  ///< of penalise_repetitions
  std::vector<double> weights_;
};

}  // namespace spnl::modelkit
