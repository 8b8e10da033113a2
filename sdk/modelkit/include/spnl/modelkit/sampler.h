#pragma once
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace spnl::modelkit {

/// How to choose the next token. Filters apply in the order penalties, temperature-free top-k,
/// top-p, min-p, then temperature (as llama.cpp's default chain does).
struct SamplingParams {
  float temperature = 0;  ///< 0: greedy
  int32_t top_k = 0;      ///< 0: off
  float top_p = 1;        ///< 1: off
  float min_p = 0;        ///< 0: off
  float repeat_penalty = 1, presence_penalty = 0, frequency_penalty = 0;
  int32_t penalty_window = 64;  ///< most recent tokens that penalties look at; < 0: all
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
  std::span<const float> penalise(std::span<const float> logits, std::span<const int32_t> history);
  void collect_best(std::span<const float> logits, size_t count);
  size_t select(std::span<const float> logits, float highest);
  int32_t choose(std::span<const float> logits, float highest, double random);
  double draw() const;

  SamplingParams params_;
  uint64_t drawn_ = 0;
  std::vector<std::pair<float, int32_t>> candidates_;
  std::vector<float> penalised_;
  std::vector<int32_t> recent_;
  std::vector<double> weights_;
};

}  // namespace spnl::modelkit
