#include "engine/step_loop.h"

#include <algorithm>
#include <new>
#include <unordered_set>
#include <utility>

#include "engine/batch_builder.h"

namespace spnl::mistralrs {

StepLoop::StepLoop(Model& model)
    : model_(model),
      runtime_(*model.runtime()),
      scheduler_(model_, *runtime_.cache, *runtime_.pool, *runtime_.kept, runtime_.disk.get()),
      speculator_(model_, model.settings().speculate) {}

void StepLoop::add(std::vector<std::shared_ptr<Sequence>> samples) {
  Sequence& leader = *samples.front();
  for (std::shared_ptr<Sequence>& sample : samples) {
    if (sample.get() != &leader) {
      sample->follows = true;
      leader.followers.push_back(sample.get());
    }
    sequences_.push_back(std::move(sample));
  }
  scheduler_.add(leader);
}

void StepLoop::step() {
  keep_what_windows_leave();
  scheduler_.schedule(plan_, full_);
  if (!plan_.empty()) {
    try {
      run_planned();
    } catch (const std::bad_alloc&) {
      fail_planned("out of memory; run fewer requests at once");
    } catch (const std::exception& e) {
      fail_planned(e.what());
    }
  }
  for (Sequence* sequence : full_) finish_sequence(*sequence, Finish::kLength, events_);
  full_.clear();
  retire_finished();
}

std::vector<Event> StepLoop::take_events() { return std::exchange(events_, {}); }

void StepLoop::run_planned() {
  const Clock::time_point begin = Clock::now();
  for (const Chunk& chunk : plan_)
    if (!chunk.sequence->started) {
      chunk.sequence->started = true;
      chunk.sequence->first_step = begin;
    }
  speculator_.propose(plan_);
  build_batch(plan_, runtime_.pool->window() != 0, batch_);
  runtime_.transformer->forward(batch_);
  samples_.clear();
  for (const Chunk& chunk : plan_) advance(chunk);
  sample_rows();
  const Clock::duration elapsed = Clock::now() - begin;
  speculator_.settle(plan_, elapsed);
  report(elapsed);
}

/// Notes what a chunk has computed; its rows join `samples_` when the next token can be sampled.
void StepLoop::advance(const Chunk& chunk) {
  Sequence& sequence = *chunk.sequence;
  sequence.right_guesses = 0;
  sequence.computed += std::min(chunk.rows, sequence.remaining());
  sequence.planned = 0;
  if (sequence.encodes) {
    if (sequence.remaining() == 0) scheduler_.seal(sequence);
    return;
  }
  if (sequence.output_tokens() == 0) store_rows(sequence);  // others may wait for it
  if (sequence.remaining() > 0) return;
  if (sequence.output_tokens() == 0) sequence.prefill_end = Clock::now();
  if (sequence.request->prefill_only) return finish_sequence(sequence, Finish::kLength, events_);
  for (size_t guess = 0; guess <= sequence.guesses.size(); ++guess)
    samples_.push_back({&sequence, guess});
}

void StepLoop::sample_rows() {
  const auto piece = static_cast<size_t>(runtime_.transformer->max_logit_rows());
  for (size_t first = 0; first < samples_.size(); first += piece) {
    const size_t count = std::min(piece, samples_.size() - first);
    const Rows logits =
        runtime_.transformer->logits(std::span(batch_.logit_rows).subspan(first, count));
    for (size_t i = 0; i < count; ++i)
      sample(samples_[first + i], std::span(logits.data + static_cast<int64_t>(i) * logits.width,
                                            static_cast<size_t>(model_.vocab())));
  }
}

void StepLoop::sample(const SampleRow& row, std::span<const float> logits) {
  Sequence& sequence = *row.sequence;
  // Logits of a guess count when it and all before it became tokens.
  if (sequence.finish || row.guess != sequence.right_guesses) return;
  fork_followers(sequence, logits);
  if (sequence.length() >= model_.context())  // the prompt alone fills it
    return finish_sequence(sequence, Finish::kLength, events_);
  sample_token(model_, logits, sequence, events_);
  if (sequence.finish || row.guess == sequence.guesses.size() ||
      sequence.ids.back() != sequence.guesses[row.guess])
    return;
  ++sequence.right_guesses;
  ++sequence.computed;
}

/// The leader's prefill is done: the other samples take its full blocks, a copy of the last one,
/// and their first token from the same logits. One that gets no block waits like any other and
/// finds the prefix again.
void StepLoop::fork_followers(Sequence& leader, std::span<const float> logits) {
  const std::vector<Sequence*> followers = std::exchange(leader.followers, {});
  const int32_t block_size = leader.table.block_size();
  const auto full_blocks = static_cast<size_t>(leader.computed / block_size);
  const auto rest = static_cast<int32_t>(leader.computed % block_size);
  for (Sequence* follower : followers) {
    follower->follows = false;
    follower->long_rope = leader.long_rope;
    follower->plan = leader.plan;
    follower->sees = leader.sees;
    follower->table.share(leader.table, full_blocks);
    runtime_.kept->make_room(follower->table.missing(leader.computed));
    if (!scheduler_.has_room() || !follower->table.grow(leader.computed)) {
      follower->table.release();
      follower->sees.clear();
      scheduler_.add(*follower);
      continue;
    }
    if (rest > 0)
      runtime_.cache->copy_block(leader.table.block(full_blocks),
                                 follower->table.block(full_blocks), rest);
    follower->computed = leader.computed;
    follower->cached.assign(leader.request->prompt.size(), 1);
    follower->started = true;
    follower->first_step = leader.first_step;
    follower->prefill_end = leader.prefill_end;
    scheduler_.add_running(*follower);
    if (follower->length() >= model_.context())
      finish_sequence(*follower, Finish::kLength, events_);
    else
      sample_token(model_, logits, *follower, events_);
  }
}

/// What sequences have written is kept before the step that gives its windowed blocks up.
void StepLoop::keep_what_windows_leave() {
  for (const auto& sequence : sequences_)
    if (sequence->running && sequence->output_tokens() > 0 &&
        sequence->table.has_to_leave(sequence->computed))
      store_rows(*sequence);
}

/// Lets others share what is computed; the begun block only when nothing is added to it any more.
void StepLoop::store_rows(const Sequence& sequence) {
  const int64_t storable = sequence.storable_rows();
  const bool all = storable == sequence.prompt_rows();
  const int64_t rows = all ? sequence.computed : std::min(sequence.computed, storable);
  runtime_.kept->store(sequence.chain().first(rows), sequence.table,
                       {.sequence = sequence.request->spans.mode == SpanMode::kExact,
                        .last_part = sequence.finish.has_value()});
}

/// Frees the blocks of what ended.
void StepLoop::retire_finished() {
  for (size_t i = 0; i < events_.size(); ++i) {
    if (!events_[i].finished) continue;
    Sequence& sequence = *events_[i].sequence;
    if (sequence.finish != Finish::kError) store_rows(sequence);
    for (Sequence* follower :
         std::exchange(sequence.followers, {})) {  // they end with their leader
      follower->error = sequence.error;
      finish_sequence(*follower, *sequence.finish, events_);
    }
    scheduler_.remove(sequence);
  }
  std::erase_if(sequences_, [](const auto& s) { return s->finish.has_value(); });
}

/// All samples of a request fail together: some may wait for one that failed.
void StepLoop::fail_planned(const std::string& error) {
  for (const auto& sequence : sequences_) {
    std::unordered_set<const Sequence*> awaited;
    visit_encoders(*sequence, awaited, [](Sequence&) {});
    const bool planned = std::any_of(plan_.begin(), plan_.end(), [&](const Chunk& chunk) {
      return chunk.sequence->request == sequence->request || awaited.contains(chunk.sequence);
    });
    if (sequence->finish || !planned) continue;
    sequence->error = error;
    sequence->follows = false;
    sequence->followers.clear();
    finish_sequence(*sequence, Finish::kError, events_);
  }
}

void StepLoop::cancel(const Mailbox& owner, uint64_t request) {
  cancel_if([&](const Sequence& s) { return s.owner == &owner && s.request->id == request; });
}

void StepLoop::cancel_all(const Mailbox& owner) {
  cancel_if([&](const Sequence& s) { return s.owner == &owner; });
}

template <class Which>
void StepLoop::cancel_if(const Which& which) {
  for (const auto& sequence : sequences_)
    if (!sequence->finish && which(*sequence)) {
      sequence->followers.clear();  // they are of the same request
      finish_sequence(*sequence, Finish::kCancelled, events_);
    }
  retire_finished();
}

void StepLoop::report(Clock::duration elapsed) {
  uint64_t prefill_rows = 0, decoded = 0, guesses = 0, right = 0;
  for (const Chunk& chunk : plan_) {
    if (!chunk.decodes) {
      prefill_rows += static_cast<uint64_t>(chunk.rows);
      continue;
    }
    decoded += 1 + chunk.sequence->right_guesses;
    guesses += chunk.sequence->guesses.size();
    right += chunk.sequence->right_guesses;
  }
  const auto ns = static_cast<uint64_t>(std::chrono::nanoseconds(elapsed).count());
  // A mixed step is shared out by rows.
  const uint64_t prefill_ns = ns * prefill_rows / static_cast<uint64_t>(batch_.rows());
  Counters& c = runtime_.counters;
  const std::lock_guard lock(c.mutex);
  c.prefill_tokens += prefill_rows;
  c.decode_tokens += decoded;
  c.guesses += guesses;
  c.right_guesses += right;
  c.prefill_ns += prefill_ns;
  c.decode_ns += ns - prefill_ns;
  c.cache_asked = scheduler_.asked_tokens();
  c.cache_hit = scheduler_.hit_tokens();
  if (runtime_.disk != nullptr && c.prefill_tokens > 0)
    runtime_.disk->set_seconds_per_token(static_cast<double>(c.prefill_ns) / 1e9 /
                                         static_cast<double>(c.prefill_tokens));
}

}  // namespace spnl::mistralrs
