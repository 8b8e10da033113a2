#include "session.h"

#include <algorithm>

#include "spnl/backend.hpp"
#include "spnl/modelkit/error.h"

namespace spnl::cpu_ref {
namespace {

constexpr uint64_t kChunk = 64;  // prompt tokens of one engine step: bounds how long a cancel waits
constexpr size_t kMaxSequences = 4096;  // more is a host that forgets to step

uint64_t nanoseconds(std::chrono::steady_clock::duration duration) {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count());
}

}  // namespace

struct Session::Sample {
  uint32_t index = 0;
  modelkit::Sampler sampler;
  modelkit::Utf8Stream utf8;
  modelkit::StopStrings stops;
  KvCache cache;
  std::vector<int32_t> history;  ///< prompt and output; the last one is not in the cache yet
  uint64_t output_tokens = 0;
  Clock::time_point first_token, last_token;
  bool finished = false;
};

struct Session::Sequence {
  uint64_t id;
  Request request;
  KvCache cache;  ///< of the prompt, until the samples take it over
  std::vector<Sample> samples;
  Clock::time_point submitted, started, prefilled;
  bool is_started = false;

  bool done() const {
    return std::all_of(samples.begin(), samples.end(),
                       [](const Sample& sample) { return sample.finished; });
  }
};

Session::Session(const Model& model, const spnl_events& events,
                 std::function<void(std::string_view)> note)
    : model_(model), events_(events), note_(std::move(note)) {}

Session::~Session() {
  sequences_.clear();
  count();
}

uint64_t Session::submit(Request request) {
  if (sequences_.size() >= kMaxSequences)
    throw abi::Failure(SPNL_BUSY,
                       std::to_string(kMaxSequences) + " sequences are waiting; step first");
  Sequence sequence{};
  for (uint32_t i = 0; i < request.sampling.samples; ++i) {
    modelkit::SamplingParams params = request.sampling.params;
    params.sample = i;
    sequence.samples.push_back({i,
                                modelkit::Sampler(params),
                                {},
                                modelkit::StopStrings(request.sampling.stops),
                                {},
                                {},
                                0,
                                {},
                                {},
                                false});
  }
  sequence.request = std::move(request);
  sequence.submitted = Clock::now();
  const std::lock_guard lock(mutex_);
  sequence.id = next_sequence_;
  sequences_.push_back(std::move(sequence));
  count();
  return next_sequence_++;
}

spnl_status Session::cancel(uint64_t sequence) {
  const std::lock_guard lock(mutex_);
  if (sequence == 0 || sequence >= next_sequence_) return SPNL_NOT_FOUND;
  cancelled_.insert(sequence);
  return SPNL_OK;
}

uint32_t Session::step(uint64_t budget_ns) {
  const auto start = Clock::now();
  do {
    engine_step();
  } while (!sequences_.empty() && nanoseconds(Clock::now() - start) < budget_ns);
  return static_cast<uint32_t>(sequences_.size());
}

void Session::engine_step() {
  std::set<uint64_t> cancelled;
  {
    const std::lock_guard lock(mutex_);
    cancelled.swap(cancelled_);  // numbers of sequences that are gone are dropped with it
  }
  for (Sequence& sequence : sequences_) {
    if (cancelled.contains(sequence.id)) {
      finish_samples(sequence, SPNL_FIN_CANCELLED);
      continue;
    }
    spnl_error error{};
    error.struct_size = sizeof error;
    const spnl_status status = abi::guard(
        &error, [&] { advance(sequence); }, status_of);
    if (status != SPNL_OK) finish_samples(sequence, SPNL_FIN_ERROR, &error);
  }
  sequences_.remove_if([](const Sequence& sequence) { return sequence.done(); });
  count();
}

void Session::advance(Sequence& sequence) {
  if (!sequence.is_started) {
    sequence.is_started = true;
    sequence.started = Clock::now();
  }
  if (sequence.cache.ids.size() < sequence.request.prompt.size() &&
      sequence.samples[0].history.empty()) {
    prefill(sequence);
    return;
  }
  for (Sample& sample : sequence.samples)
    if (!sample.finished) decode(sequence, sample);
}

void Session::prefill(Sequence& sequence) {
  const auto start = Clock::now();
  const std::vector<int32_t>& prompt = sequence.request.prompt;
  const uint64_t at = sequence.cache.ids.size(), n = std::min(kChunk, prompt.size() - at);
  const std::vector<float> hidden =
      model_.transformer().forward(std::span(prompt).subspan(at, n), sequence.cache, prompt.size());
  const bool complete = at + n == prompt.size();
  std::vector<float> logits(complete ? model_.vocab() : 0);
  if (complete)
    model_.transformer().logits(std::span(hidden).last(model_.spec().hidden_size), logits);
  sequence.prefilled = Clock::now();
  model_.counters().prefill_tokens += n;
  model_.counters().prefill_ns += nanoseconds(sequence.prefilled - start);
  if (!complete) return;
  if (sequence.request.prefill_only) {
    finish_samples(sequence, SPNL_FIN_LENGTH);
    return;
  }
  for (Sample& sample : sequence.samples) {  // one prefill for all: they part ways here
    sample.history = prompt;
    sample.cache = &sample == &sequence.samples.back() ? std::move(sequence.cache) : sequence.cache;
  }
  for (Sample& sample : sequence.samples) choose(sequence, sample, logits);
}

void Session::decode(Sequence& sequence, Sample& sample) {
  const auto start = Clock::now();
  const std::vector<float> hidden =
      model_.transformer().forward(std::span(sample.history).last(1), sample.cache);
  std::vector<float> logits(model_.vocab());
  model_.transformer().logits(hidden, logits);
  model_.counters().decode_ns += nanoseconds(Clock::now() - start);
  choose(sequence, sample, logits);
}

void Session::choose(Sequence& sequence, Sample& sample, std::span<const float> logits) {
  const auto is_full = [&] { return sample.history.size() >= model_.context(); };
  const auto finish_full = [&] {
    note_("the context of " + std::to_string(model_.context()) +
          " tokens is full: the answer ends here");
    finish(sequence, sample, SPNL_FIN_LENGTH);
  };
  if (is_full()) return finish_full();
  const int32_t token = sample.sampler.sample(logits, sample.history);
  const std::vector<int32_t>& eos = model_.bundle().eos;
  if (std::binary_search(eos.begin(), eos.end(), token))
    return finish(sequence, sample, SPNL_FIN_EOS);
  emit(sequence, sample, token, logits);
  if (sample.stops.stopped()) return finish(sequence, sample, SPNL_FIN_STOP);
  const uint64_t most = sequence.request.sampling.max_tokens;
  if (most != 0 && sample.output_tokens >= most) return finish(sequence, sample, SPNL_FIN_LENGTH);
  if (is_full()) finish_full();
}

void Session::emit(Sequence& sequence, Sample& sample, int32_t token,
                   std::span<const float> logits) {
  sample.last_token = Clock::now();
  if (sample.output_tokens == 0) sample.first_token = sample.last_token;
  sample.history.push_back(token);
  ++sample.output_tokens;
  ++model_.counters().decode_tokens;

  const std::string text = sample.stops.push(sample.utf8.push(model_.piece(token)));
  spnl_event event{};
  event.kind = SPNL_EV_TOKENS;
  event.sample = sample.index;
  event.n_tokens = 1;
  event.tokens = &token;
  event.text = abi::str(text);
  float logprob = 0;
  std::vector<int32_t> best;
  std::vector<float> best_logprobs;
  if (sequence.request.sampling.want_logprobs) {
    const double all = log_sum_exp(logits);
    logprob = static_cast<float>(logits[static_cast<size_t>(token)] - all);
    best = top_ids(logits, sequence.request.sampling.top_logprobs);
    for (const int32_t id : best)
      best_logprobs.push_back(static_cast<float>(logits[static_cast<size_t>(id)] - all));
    event.logprobs = &logprob;
    event.top_k = sequence.request.sampling.top_logprobs;
    event.top_ids = best.data();
    event.top_logprobs = best_logprobs.data();
  }
  send(sequence, event);
}

void Session::finish(Sequence& sequence, Sample& sample, int32_t reason, const spnl_error* error) {
  std::string rest;
  const bool tells_rest = reason == SPNL_FIN_EOS || reason == SPNL_FIN_LENGTH;
  if (tells_rest) {
    rest = sample.stops.push(sample.utf8.finish());
    rest += sample.stops.finish();
    if (sample.stops.stopped()) reason = SPNL_FIN_STOP;
  }
  const std::vector<uint64_t> nothing_cached(sequence.request.fragment_tokens.size(), 0);
  spnl_usage usage{};
  usage.struct_size = sizeof usage;
  usage.n_fragments = static_cast<uint32_t>(nothing_cached.size());
  usage.fragment_tokens = sequence.request.fragment_tokens.data();
  usage.fragment_cached = nothing_cached.data();
  usage.prompt_tokens = sequence.request.prompt.size();
  usage.output_tokens = sample.output_tokens;
  if (sequence.is_started) usage.queue_ns = nanoseconds(sequence.started - sequence.submitted);
  if (sequence.prefilled > sequence.started)
    usage.prefill_ns = nanoseconds(sequence.prefilled - sequence.started);
  if (sample.output_tokens > 0) {
    usage.first_token_ns = nanoseconds(sample.first_token - sequence.submitted);
    usage.decode_ns = nanoseconds(sample.last_token - sample.first_token);
  }
  sample.finished = true;
  sample.cache = {};
  spnl_event event{};
  event.kind = SPNL_EV_FINISH;
  event.sample = sample.index;
  event.finish = reason;
  event.text = abi::str(rest);
  event.usage = &usage;
  event.error = reason == SPNL_FIN_ERROR ? error : nullptr;
  send(sequence, event);
}

void Session::finish_samples(Sequence& sequence, int32_t reason, const spnl_error* error) {
  for (Sample& sample : sequence.samples)
    if (!sample.finished) finish(sequence, sample, reason, error);
}

void Session::finish_all() {
  for (Sequence& sequence : sequences_) finish_samples(sequence, SPNL_FIN_CANCELLED);
  sequences_.clear();
}

void Session::send(const Sequence& sequence, const spnl_event& event) {
  spnl_event sent = event;
  sent.struct_size = sizeof sent;
  sent.sequence = sequence.id;
  sent.user_id = sequence.request.user_id;
  if (events_.event(events_.user, &sent) != 0) cancel(sequence.id);
}

void Session::count() {
  uint32_t running = 0, waiting = 0;
  uint64_t bytes = 0;
  for (const Sequence& sequence : sequences_) {
    ++(sequence.is_started ? running : waiting);
    bytes += sequence.cache.bytes();
    for (const Sample& sample : sequence.samples) bytes += sample.cache.bytes();
  }
  // Differences: several sessions share the model's counters (unsigned arithmetic wraps, the sums
  // come out right).
  model_.counters().running += running - counted_running_;
  model_.counters().waiting += waiting - counted_waiting_;
  model_.counters().cache_bytes += bytes - counted_bytes_;
  counted_running_ = running;
  counted_waiting_ = waiting;
  counted_bytes_ = bytes;
}

}  // namespace spnl::cpu_ref
