#include "bench_round.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "generation.h"
#include "input.h"
#include "spnl/error.h"

namespace spnl::host {
namespace {

using Clock = std::chrono::steady_clock;

/// The token ids that the comparison with other engines uses, spread over the vocabulary past its
/// control tokens.
std::vector<int32_t> synthetic_ids(uint64_t count, uint64_t sequence, uint64_t vocabulary) {
  constexpr uint64_t kFirst = 256, kKeptFree = 300;
  bool small = vocabulary <= kKeptFree;
  uint64_t range = small ? std::max<uint64_t>(vocabulary, 1) : vocabulary - kKeptFree,
           first = small ? 0 : kFirst;
  std::vector<int32_t> ids;
  for (uint64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<int32_t>((7919 * (i + 1) + 31 * sequence) % range + first));
  return ids;
}

struct TokenTime {
  Clock::time_point at;
  size_t tokens;
};

struct SequenceRun {
  std::vector<TokenTime> times;
  Completion completion;
  Clock::time_point finished;
};

/// All sequences of one phase, submitted together and waited for.
class Phase {
 public:
  Phase(Model& model, const BenchShape& shape, uint64_t first_prompt, uint32_t new_tokens,
        std::stop_token stop)
      : runs_(shape.sequences), open_(shape.sequences), begin_(Clock::now()) {
    std::vector<uint64_t> numbers;
    for (uint64_t s = 0; s < shape.sequences; ++s)
      numbers.push_back(
          submit(model, synthetic_ids(shape.prompt_tokens, first_prompt + s, model.info().vocab),
                 new_tokens, runs_[s]));
    std::stop_callback cancel(stop, [&] {
      for (uint64_t number : numbers) model.cancel(number);
    });
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return open_ == 0; });
    check();
  }

  const std::vector<SequenceRun>& runs() const { return runs_; }
  Clock::time_point begin() const { return begin_; }

 private:
  uint64_t submit(Model& model, std::vector<int32_t> ids, uint32_t new_tokens, SequenceRun& run) {
    GenerateRequest request;
    request.prompt = token_prompt(std::move(ids));
    request.temperature = 0.0f;
    request.max_tokens = new_tokens;
    GenerateHandlers handlers;
    handlers.on_tokens = [&run](uint32_t, std::string_view, const std::vector<int32_t>& new_ids) {
      if (!new_ids.empty()) run.times.push_back({Clock::now(), new_ids.size()});
    };
    handlers.on_finish = [this, &run](std::vector<Completion> completions) {
      std::lock_guard lock(mutex_);
      run.finished = Clock::now();
      if (!completions.empty()) run.completion = std::move(completions.front());
      if (--open_ == 0) done_.notify_one();
    };
    return model.generate(std::move(request), std::move(handlers));
  }

  void check() const {
    for (const SequenceRun& run : runs_) {
      if (run.completion.finish == FinishReason::kError)
        throw Error(ErrorCode::kEvaluation,
                    run.completion.error.empty() ? "a generation failed" : run.completion.error,
                    "bench");
      if (run.completion.finish == FinishReason::kCancelled)
        throw Error(ErrorCode::kInterrupted, "interrupted", "bench");
    }
  }

  std::vector<SequenceRun> runs_;
  uint64_t open_;
  Clock::time_point begin_;
  std::mutex mutex_;
  std::condition_variable done_;
};

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

std::optional<double> rate(double tokens, double time) {
  if (tokens <= 0 || time <= 0) return std::nullopt;
  return tokens / time;
}

std::optional<double> prefill_rate_of(const Phase& phase) {
  double tokens = 0;
  Clock::time_point end = phase.begin();
  for (const SequenceRun& run : phase.runs()) {
    tokens += static_cast<double>(run.completion.usage.prompt_tokens -
                                  run.completion.usage.cached_tokens);
    end = std::max(end, run.finished);
  }
  return rate(tokens, seconds(end - phase.begin()));
}

std::optional<double> first_token_of(const Phase& phase) {
  Clock::time_point last = phase.begin();
  for (const SequenceRun& run : phase.runs()) {
    if (run.times.empty()) return std::nullopt;
    last = std::max(last, run.times.front().at);
  }
  return seconds(last - phase.begin());
}

double tokens_between(const Phase& phase, Clock::time_point from, Clock::time_point to) {
  double tokens = 0;
  for (const SequenceRun& run : phase.runs())
    for (const TokenTime& time : run.times)
      if (time.at > from && time.at <= to) tokens += static_cast<double>(time.tokens);
  return tokens;
}

/// From the moment when every sequence has its first token until the first one ends, as long as
/// that holds at least a quarter of all steps; else until the last one ends.
std::optional<double> decode_rate_of(const Phase& phase, const BenchShape& shape) {
  Clock::time_point all_started{}, first_end = Clock::time_point::max(), last_end{};
  for (const SequenceRun& run : phase.runs()) {
    if (run.times.empty()) return std::nullopt;
    all_started = std::max(all_started, run.times.front().at);
    first_end = std::min(first_end, run.times.back().at);
    last_end = std::max(last_end, run.times.back().at);
  }
  double wanted = static_cast<double>(shape.gen_tokens * shape.sequences) / 4;
  if (double tokens = tokens_between(phase, all_started, first_end); tokens >= wanted)
    return rate(tokens, seconds(first_end - all_started));
  return rate(tokens_between(phase, all_started, last_end), seconds(last_end - all_started));
}

/// The backend's own times leave out what the program around it costs.
BenchRates rates_of_one(const Phase& phase, const BenchShape& shape) {
  const Usage& usage = phase.runs().front().completion.usage;
  BenchRates rates;
  if (shape.decode)
    rates.decode_tok_s = decode_rate(usage) ? decode_rate(usage) : decode_rate_of(phase, shape);
  if (!shape.prefill) return rates;
  rates.prefill_tok_s = prefill_rate(usage);
  rates.first_token_s = first_token_of(phase);
  if (!rates.prefill_tok_s && rates.first_token_s)
    rates.prefill_tok_s = rate(static_cast<double>(shape.prompt_tokens), *rates.first_token_s);
  return rates;
}

}  // namespace

BenchRates measure_round(Model& model, const BenchShape& shape, uint64_t first_prompt,
                         std::stop_token stop) {
  // The prompt's evaluation yields the first token.
  const auto new_tokens = static_cast<uint32_t>(shape.decode ? shape.gen_tokens + 1 : 1);
  BenchRates rates;
  bool stopped_early = false;
  if (shape.decode || shape.sequences == 1) {
    Phase phase(model, shape, first_prompt, new_tokens, stop);
    for (const SequenceRun& run : phase.runs())
      stopped_early |= run.completion.usage.output_tokens < new_tokens;
    if (shape.sequences == 1)
      rates = rates_of_one(phase, shape);
    else
      rates.decode_tok_s = decode_rate_of(phase, shape);
  }
  if (shape.prefill && shape.sequences > 1) {
    Phase phase(model, shape, first_prompt + shape.sequences, 1, stop);
    rates.prefill_tok_s = prefill_rate_of(phase);
    rates.first_token_s = first_token_of(phase);
  }
  rates.stopped_early = stopped_early;
  return rates;
}

}  // namespace spnl::host
