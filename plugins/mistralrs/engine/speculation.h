#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "engine/scheduler.h"
#include "engine/settings.h"

namespace spnl::mistralrs {

class Model;

/// Speculation without a draft model: guesses from a sequence's own text (NgramIndex) run as more
/// rows of the step that decodes it. Each position is sampled as ever, from its own logits and with
/// its own draw; while the sampled token is the guessed one, the next row's logits are those that
/// the next step would have computed. So the text is the same, bit for bit, with and without.
///
/// With Speculate::kAuto it is limited by what it costs: each sequence has an account in tokens.
/// Every token pays in a little, a guess costs what its row made the step longer, and one that came
/// true earns a token. Nothing is guessed on credit, so text that does not repeat loses at most the
/// part that was paid in.
class Speculator {
 public:
  Speculator(const Model& model, Speculate mode) : model_(model), mode_(mode) {}

  /// Adds guesses to a plan, if it is one of decoding sequences only.
  void propose(std::span<Chunk> plan);
  /// Says how long the step took that the plan was for, sampling included.
  void settle(std::span<const Chunk> plan, Clock::duration elapsed);

 private:
  /// How long steps without guesses take.
  struct PlainTime {
    double seconds = 0;  // smoothed
    uint32_t measured = 0;
    uint64_t last = 0;  // number of the step that was measured last
  };

  bool knows_plain_time(size_t sequences) const;
  void measure(PlainTime& plain, double seconds);
  void propose(Chunk& chunk, int64_t most);
  int64_t room(const Sequence& sequence, int64_t most) const;
  void charge(Sequence& sequence, double cost_of_guess);

  const Model& model_;
  const Speculate mode_;
  std::vector<PlainTime> plain_;  // by sequences in the step
  uint64_t steps_ = 0;            // that only decoded
};

}  // namespace spnl::mistralrs
