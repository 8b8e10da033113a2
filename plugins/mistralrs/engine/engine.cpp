#include "engine/engine.h"

#include <algorithm>
#include <thread>

#include "engine/batch_builder.h"
#include "spnl/modelkit/error.h"

namespace spnl::mistralrs {
namespace {

using modelkit::Error;
using modelkit::ErrorCode;

constexpr size_t kMaxQueuedSequences = 65536;
/// How long a step waits when other sessions hold the blocks it needs.
constexpr std::chrono::milliseconds kWaitForBlocks(1);

}  // namespace

Engine::Engine(Model& model, Listener listener, Note note)
    : model_(model),
      runtime_(*model.runtime()),
      listener_(std::move(listener)),
      note_(std::move(note)),
      scheduler_(model_, *runtime_.pool, *runtime_.prefixes) {}

Engine::~Engine() {
  const std::lock_guard lock(runtime_.mutex);
  sequences_.clear();  // gives the blocks back
  const std::lock_guard counters(runtime_.counters.mutex);
  runtime_.counters.running -= reported_running_;
  runtime_.counters.waiting -= reported_waiting_;
}

bool Engine::submit(Request request, uint64_t& id) {
  const auto tokens = static_cast<int64_t>(request.prompt.size());
  const int64_t slots = int64_t{runtime_.cache->blocks()} * runtime_.cache->block_size();
  if (tokens == 0) throw Error(ErrorCode::kInvalid, "the prompt has no tokens");
  if (tokens > model_.context())
    throw Error(ErrorCode::kInvalid, "the prompt has " + std::to_string(tokens) +
                                         " tokens and the context holds " +
                                         std::to_string(model_.context()));
  if (tokens > slots)
    throw Error(ErrorCode::kInvalid, "the prompt has " + std::to_string(tokens) +
                                         " tokens and the KV cache holds " + std::to_string(slots) +
                                         "; allow it more memory");
  const auto vocab = static_cast<int32_t>(model_.bundle().spec.vocab_size);
  for (const int32_t token : request.prompt)
    if (token < 0 || token >= vocab)
      throw Error(ErrorCode::kInvalid, "token " + std::to_string(token) +
                                           " is outside the vocabulary of " +
                                           std::to_string(vocab));
  if (sequences_.size() + request.sampling.samples > kMaxQueuedSequences) return false;

  id = request.id = next_id_++;
  request.submitted = Clock::now();
  const auto shared = std::make_shared<const Request>(std::move(request));
  const std::lock_guard lock(runtime_.mutex);
  Sequence* leader = nullptr;
  for (uint32_t sample = 0; sample < shared->sampling.samples; ++sample) {
    auto sequence =
        std::make_unique<Sequence>(shared, sample, *runtime_.pool, runtime_.cache->block_size());
    if (leader == nullptr) {
      leader = sequence.get();
      scheduler_.add(*leader);
    } else {
      sequence->follows = true;
      leader->followers.push_back(sequence.get());
    }
    sequences_.push_back(std::move(sequence));
  }
  live_.insert(id);
  return true;
}

uint32_t Engine::step() {
  bool idle = false;
  {
    const std::lock_guard lock(runtime_.mutex);
    finish_cancelled();
    scheduler_.schedule(plan_, full_);
    if (!plan_.empty()) {
      try {
        run_planned();
        sample_complete();
      } catch (const std::exception& e) {
        fail_planned(e.what());
      }
    }
    retire_finished();
    idle = plan_.empty() && events_.empty() && !live_.empty();
  }
  deliver();
  if (idle) std::this_thread::sleep_for(kWaitForBlocks);
  return alive();
}

void Engine::run_planned() {
  const Clock::time_point begin = Clock::now();
  for (const Chunk& chunk : plan_)
    if (!chunk.sequence->started) {
      chunk.sequence->started = true;
      chunk.sequence->first_step = begin;
    }
  build_batch(plan_, batch_);
  runtime_.transformer->forward(batch_);
  complete_.clear();
  int64_t decode_rows = 0;
  for (const Chunk& chunk : plan_) {
    if (chunk.rows == 1 && chunk.sequence->output_tokens() > 0) ++decode_rows;
    advance(chunk);
  }
  report(batch_.rows() - decode_rows, decode_rows, Clock::now() - begin);
}

/// Notes what a chunk has computed; the sequence joins `complete_` when its next token can be
/// sampled.
void Engine::advance(const Chunk& chunk) {
  Sequence& sequence = *chunk.sequence;
  sequence.computed += chunk.rows;
  if (sequence.remaining() > 0) return;
  if (sequence.output_tokens() == 0) {
    sequence.prefill_end = Clock::now();
    store_prefix(sequence);  // later requests need not wait for this one's end
  }
  if (!sequence.request->prefill_only)
    complete_.push_back(&sequence);
  else
    finish_sequence(sequence, Finish::kLength, events_);
}

void Engine::sample_complete() {
  const auto piece = static_cast<size_t>(runtime_.transformer->max_logit_rows());
  for (size_t first = 0; first < complete_.size(); first += piece) {
    const size_t count = std::min(piece, complete_.size() - first);
    const Rows logits =
        runtime_.transformer->logits(std::span(batch_.logit_rows).subspan(first, count));
    for (size_t i = 0; i < count; ++i) {
      Sequence& sequence = *complete_[first + i];
      const std::span row(logits.data + static_cast<int64_t>(i) * logits.width,
                          static_cast<size_t>(model_.vocab()));
      fork_followers(sequence, row);
      if (sequence.length() >= model_.context())
        finish_sequence(sequence, Finish::kLength, events_);  // the prompt alone fills it
      else
        sample_token(model_, row, sequence, events_);
    }
  }
}

/// The leader's prefill is done: the other samples take its full blocks, a copy of the last one,
/// and their first token from the same logits. One that gets no block waits like any other and
/// finds the prefix again.
void Engine::fork_followers(Sequence& leader, std::span<const float> logits) {
  const std::vector<Sequence*> followers = std::exchange(leader.followers, {});
  const int32_t block_size = leader.table.block_size();
  const auto full_blocks = static_cast<size_t>(leader.computed / block_size);
  const auto rest = static_cast<int32_t>(leader.computed % block_size);
  for (Sequence* follower : followers) {
    follower->follows = false;
    follower->long_rope = leader.long_rope;
    follower->table.share(leader.table.blocks().first(full_blocks));
    if (rest > 0) runtime_.prefixes->make_room(1);
    if (!scheduler_.has_room() || !follower->table.grow(leader.computed)) {
      follower->table.release();
      scheduler_.add(*follower);
      continue;
    }
    if (rest > 0)
      runtime_.cache->copy_block(leader.table.blocks()[full_blocks],
                                 follower->table.blocks()[full_blocks], rest);
    follower->computed = follower->cached_tokens = leader.computed;
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

void Engine::store_prefix(const Sequence& sequence) {
  const int64_t tokens = std::min(sequence.computed, sequence.request->storable_tokens);
  runtime_.prefixes->store(std::span(sequence.ids).first(static_cast<size_t>(tokens)),
                           sequence.long_rope, sequence.table);
}

/// Frees the blocks of what ended; the sequences themselves live until their events are delivered.
void Engine::retire_finished() {
  for (Sequence* sequence : full_) finish_sequence(*sequence, Finish::kLength, events_);
  for (size_t i = 0; i < events_.size(); ++i) {
    if (!events_[i].finished) continue;
    Sequence& sequence = *events_[i].sequence;
    const uint64_t most = sequence.request->sampling.max_tokens;
    const bool at_limit = most != 0 && sequence.output_tokens() >= most;
    if (sequence.finish == Finish::kLength && !at_limit && !sequence.request->prefill_only)
      note_("context full: stopped after " + std::to_string(sequence.length()) + " tokens, of " +
            std::to_string(model_.context()) + " in the context");
    if (sequence.finish != Finish::kError) store_prefix(sequence);
    for (Sequence* follower :
         std::exchange(sequence.followers, {})) {  // they end with their leader
      follower->error = sequence.error;
      finish_sequence(*follower, *sequence.finish, events_);
    }
    scheduler_.remove(sequence);
  }
  full_.clear();
}

void Engine::deliver() {
  for (const Event& event : events_)
    if (listener_(event) != 0) cancel(event.sequence->request->id);
  events_.clear();
  const bool any =
      std::erase_if(sequences_, [](const auto& s) { return s->finish.has_value(); }) > 0;
  if (!any) return;
  live_.clear();
  for (const auto& s : sequences_) live_.insert(s->request->id);
}

void Engine::fail_planned(const std::string& error) {
  std::erase_if(events_,
                [](const Event& event) { return !event.finished && !event.sequence->finish; });
  // All samples of a request fail together: some may wait for one that failed.
  for (const auto& sequence : sequences_) {
    const bool planned = std::any_of(plan_.begin(), plan_.end(), [&](const Chunk& chunk) {
      return chunk.sequence->request == sequence->request;
    });
    if (sequence->finish || !planned) continue;
    sequence->error = error;
    sequence->follows = false;
    sequence->followers.clear();
    finish_sequence(*sequence, Finish::kError, events_);
  }
}

void Engine::cancel(uint64_t id) {
  const std::lock_guard lock(cancel_mutex_);
  cancelled_.push_back(id);
}

void Engine::finish_cancelled() {
  std::vector<uint64_t> cancelled;
  {
    const std::lock_guard lock(cancel_mutex_);
    cancelled.swap(cancelled_);
  }
  if (cancelled.empty()) return;
  for (const auto& sequence : sequences_)
    if (!sequence->finish && !sequence->follows &&
        std::find(cancelled.begin(), cancelled.end(), sequence->request->id) != cancelled.end()) {
      finish_sequence(*sequence, Finish::kCancelled, events_);
      scheduler_.remove(*sequence);
      sequence->computed = 0;
    }
}

void Engine::cancel_all() {
  for (const uint64_t id : live_) cancel(id);
  {
    const std::lock_guard lock(runtime_.mutex);
    plan_.clear();
    finish_cancelled();
    retire_finished();
  }
  deliver();
}

void Engine::report(int64_t prefill_rows, int64_t decode_rows, Clock::duration elapsed) {
  const auto ns = static_cast<uint64_t>(std::chrono::nanoseconds(elapsed).count());
  const auto rows = static_cast<uint64_t>(prefill_rows + decode_rows);
  const auto running = static_cast<uint32_t>(scheduler_.running()),
             waiting = static_cast<uint32_t>(scheduler_.waiting());
  Counters& c = runtime_.counters;
  const std::lock_guard lock(c.mutex);
  c.prefill_tokens += static_cast<uint64_t>(prefill_rows);
  c.decode_tokens += static_cast<uint64_t>(decode_rows);
  const uint64_t prefill_ns =
      ns * static_cast<uint64_t>(prefill_rows) / rows;  // a mixed step is shared out by rows
  c.prefill_ns += prefill_ns;
  c.decode_ns += ns - prefill_ns;
  c.running += running - reported_running_;
  c.waiting += waiting - reported_waiting_;
  c.cache_asked += scheduler_.asked_tokens() - reported_asked_;
  c.cache_hit += scheduler_.hit_tokens() - reported_hit_;
  c.cache_bytes =
      runtime_.cache->block_bytes() * static_cast<uint64_t>(runtime_.pool->used_blocks());
  reported_running_ = running;
  reported_waiting_ = waiting;
  reported_asked_ = scheduler_.asked_tokens();
  reported_hit_ = scheduler_.hit_tokens();
}

}  // namespace spnl::mistralrs
