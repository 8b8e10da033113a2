#include "engine/speculation.h"

#include <algorithm>

#include "engine/model.h"

namespace spnl::mistralrs {
namespace {

constexpr double kIncome = 0.03;    // of a token, for each token
constexpr double kMostSavings = 2;  // tokens; also the most debt
constexpr size_t kMostGuesses = 15;
constexpr size_t kAlwaysGuesses = 8;  // with Speculate::kNgram
// Of the time of steps without guesses.
constexpr uint32_t kTrustedSteps = 2;  // the first of them finds cold caches
constexpr uint64_t kFreshSteps = 32, kUsefulSteps = 256;
constexpr double kSmoothing = 0.3;
constexpr double kOutlier = 2;  // a step that takes longer by this factor was disturbed

bool all_decode(std::span<const Chunk> plan) {
  return std::all_of(plan.begin(), plan.end(), [](const Chunk& chunk) { return chunk.decodes; });
}

}  // namespace

void Speculator::propose(std::span<Chunk> plan) {
  for (const Chunk& chunk : plan) chunk.sequence->guesses.clear();
  if (mode_ == Speculate::kOff || !all_decode(plan)) return;
  if (mode_ == Speculate::kAuto) {
    plain_.resize(std::max(plain_.size(), plan.size() + 1));
    if (!knows_plain_time(plan.size())) return;
  }
  int64_t free = kTokenBudget - static_cast<int64_t>(plan.size());
  for (Chunk& chunk : plan) {
    propose(chunk, free);
    free -= chunk.rows - 1;
  }
}

void Speculator::propose(Chunk& chunk, int64_t most) {
  Sequence& sequence = *chunk.sequence;
  const bool always = mode_ == Speculate::kNgram;
  if (!always && sequence.savings <= 0) return;
  const auto wanted = static_cast<int64_t>(always ? kAlwaysGuesses : sequence.guesses_at_once);
  const int64_t count = room(sequence, std::min(wanted, most));
  if (count <= 0) return;
  sequence.ngrams.propose(sequence.ids, static_cast<size_t>(count), sequence.guesses);
  // Only blocks that nobody else needs now.
  while (!sequence.guesses.empty() &&
         !sequence.table.grow(sequence.rows() + static_cast<int64_t>(sequence.guesses.size())))
    sequence.guesses.pop_back();
  chunk.rows += static_cast<int64_t>(sequence.guesses.size());
}

/// Of `most` guesses, those that can still become tokens and that turn by the same frequencies as
/// the sequence does now.
int64_t Speculator::room(const Sequence& sequence, int64_t most) const {
  most = std::min(most, model_.context() - sequence.length() - 1);
  if (const int64_t tokens = sequence.request->sampling.max_tokens; tokens != 0)
    most = std::min(most, tokens - static_cast<int64_t>(sequence.output_tokens()) - 1);
  if (!sequence.long_rope)
    while (most > 0 && model_.turns_long(sequence.length() + most)) --most;
  return most;
}

bool Speculator::knows_plain_time(size_t sequences) const {
  const PlainTime& plain = plain_[sequences];
  return plain.measured >= kTrustedSteps && steps_ - plain.last < kFreshSteps;
}

void Speculator::measure(PlainTime& plain, double seconds) {
  if (steps_ - plain.last > kUsefulSteps) plain.measured = 0;  // of another time
  plain.last = steps_;
  if (++plain.measured <= kTrustedSteps)
    plain.seconds = seconds;
  else
    plain.seconds += kSmoothing * (std::min(seconds, kOutlier * plain.seconds) - plain.seconds);
}

void Speculator::settle(std::span<const Chunk> plan, Clock::duration elapsed) {
  if (mode_ != Speculate::kAuto || !all_decode(plan)) return;
  ++steps_;
  PlainTime& plain = plain_[plan.size()];
  const double seconds = std::chrono::duration<double>(elapsed).count();
  size_t guesses = 0;
  for (const Chunk& chunk : plan) guesses += chunk.sequence->guesses.size();
  double cost_of_guess = 0;
  if (guesses == 0) {
    measure(plain, seconds);
  } else {
    const double token = plain.seconds / static_cast<double>(plan.size());
    cost_of_guess =
        std::clamp((seconds - plain.seconds) / token / static_cast<double>(guesses), 0.0, 1.0);
  }
  for (const Chunk& chunk : plan) charge(*chunk.sequence, cost_of_guess);
}

void Speculator::charge(Sequence& sequence, double cost_of_guess) {
  const size_t guesses = sequence.guesses.size(), right = sequence.right_guesses;
  sequence.savings = std::clamp(sequence.savings + kIncome + static_cast<double>(right) -
                                    static_cast<double>(guesses) * cost_of_guess,
                                -kMostSavings, kMostSavings);
  if (guesses == 0) return;
  sequence.guesses_at_once =
      std::clamp(right == guesses ? 2 * guesses : right + 1, size_t{2}, kMostGuesses);
}

}  // namespace spnl::mistralrs
