#include "engine/scheduler.h"

#include <algorithm>

#include "engine/model.h"

namespace spnl::mistralrs {

void Scheduler::schedule(std::vector<Chunk>& plan, std::vector<Sequence*>& full) {
  plan.clear();
  restart_grown(plan);
  int64_t budget = kTokenBudget;
  plan_running(plan, full, budget, /*decoding=*/true);
  plan_running(plan, full, budget, /*decoding=*/false);
  while (budget > 0 && !waiting_.empty() && has_room()) {
    if (can_never_hold(*waiting_.front())) {
      full.push_back(waiting_.front());
      waiting_.pop_front();
      continue;
    }
    if (!admit_first()) break;
    Sequence& sequence = *running_.back();
    const int64_t rows = std::min(sequence.remaining(), budget);
    plan.push_back({&sequence, rows});
    budget -= rows;
  }
}

void Scheduler::plan_running(std::vector<Chunk>& plan, std::vector<Sequence*>& full,
                             int64_t& budget, bool decoding) {
  for (size_t i = 0; i < running_.size() && budget > 0;
       ++i) {  // preemption shortens running_ from its end
    Sequence& sequence = *running_[i];
    if ((sequence.remaining() == 1) != decoding) continue;
    if (can_never_hold(sequence)) {
      full.push_back(&sequence);
      sequence.table.release();
      sequence.computed = 0;
      running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i--));
      continue;
    }
    const int64_t rows = std::min(sequence.remaining(), budget);
    if (!make_space(sequence, sequence.computed + rows, plan))
      break;  // it was the newest, and waits now
    plan.push_back({&sequence, rows});
    budget -= rows;
  }
}

/// More tokens than the whole pool has slots.
bool Scheduler::can_never_hold(const Sequence& sequence) const {
  return sequence.length() > int64_t{pool_.size()} * sequence.table.block_size();
}

/// Grows the sequence's table; false: it had to give way itself.
bool Scheduler::make_space(Sequence& sequence, int64_t tokens, std::vector<Chunk>& plan) {
  while (!sequence.table.grow(tokens)) {
    prefixes_.make_room(sequence.table.missing(tokens));
    if (sequence.table.grow(tokens)) return true;
    Sequence& newest = *running_.back();
    preempt(newest, plan);
    if (&newest == &sequence) return false;
  }
  return true;
}

/// What is cached was turned by the short frequencies: all of it is computed again.
void Scheduler::restart_grown(std::vector<Chunk>& plan) {
  for (size_t i = running_.size(); i-- > 0;) {  // newest first: the oldest ends up in front
    Sequence& sequence = *running_[i];
    if (!sequence.long_rope && model_.turns_long(sequence.length())) preempt(sequence, plan);
  }
}

void Scheduler::preempt(Sequence& sequence, std::vector<Chunk>& plan) {
  std::erase_if(plan, [&](const Chunk& chunk) { return chunk.sequence == &sequence; });
  std::erase(running_, &sequence);
  sequence.table.release();
  sequence.computed = 0;
  waiting_.push_front(&sequence);
}

bool Scheduler::admit_first() {
  Sequence& sequence = *waiting_.front();
  // The last token is always computed: its logits are wanted.
  sequence.long_rope = model_.turns_long(sequence.length());
  const auto cached = prefixes_.find(sequence.ids, sequence.long_rope, sequence.length() - 1);
  sequence.table.share(cached);
  const int64_t hit = sequence.table.capacity();
  const int32_t missing = sequence.table.missing(sequence.length());
  // One block in reserve for each running sequence keeps the next steps from preempting at once.
  prefixes_.make_room(missing + static_cast<int32_t>(running_.size()));
  const bool fits = missing + (running_.empty() ? 0 : static_cast<int32_t>(running_.size())) <=
                    pool_.free_blocks();
  if (!fits || !sequence.table.grow(sequence.length())) {
    sequence.table.release();
    return false;
  }
  sequence.computed = hit;
  if (!sequence.started) sequence.cached_tokens = hit;
  asked_tokens_ += sequence.ids.size();
  hit_tokens_ += static_cast<uint64_t>(hit);
  waiting_.pop_front();
  running_.push_back(&sequence);
  return true;
}

void Scheduler::remove(Sequence& sequence) {
  std::erase(running_, &sequence);
  std::erase(waiting_, &sequence);
  sequence.table.release();
}

}  // namespace spnl::mistralrs
