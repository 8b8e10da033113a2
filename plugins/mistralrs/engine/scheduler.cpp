#include "engine/scheduler.h"

#include <algorithm>

#include "engine/mailbox.h"
#include "engine/model.h"

namespace spnl::mistralrs {
namespace {

bool decodes(const Sequence& sequence) {
  return sequence.output_tokens() > 0 && sequence.remaining() == 1;
}

}  // namespace

void Scheduler::add(Sequence& sequence) { line_of(sequence).waiting.push_back(&sequence); }

Scheduler::Line& Scheduler::line_of(Sequence& sequence) {
  for (Line& line : lines_)
    if (line.owner == sequence.owner) return line;
  return lines_.emplace_back(Line{sequence.owner, {}});
}

void Scheduler::add_running(Sequence& sequence) {
  if (sequence.seniority == 0) sequence.seniority = ++admitted_;
  sequence.running = true;
  const auto younger = [](const Sequence* a, const Sequence* b) {
    return a->seniority < b->seniority;
  };
  running_.insert(std::upper_bound(running_.begin(), running_.end(), &sequence, younger),
                  &sequence);
}

void Scheduler::remove(Sequence& sequence) {
  std::erase(running_, &sequence);
  sequence.running = false;
  for (Line& line : lines_) std::erase(line.waiting, &sequence);
  std::erase_if(lines_, [](const Line& line) { return line.waiting.empty(); });
  sequence.table.release();
  sequence.computed = 0;
}

void Scheduler::schedule(std::vector<Chunk>& plan, std::vector<Sequence*>& full) {
  plan.clear();
  restart_grown(plan);
  budget_ = kTokenBudget;
  plan_running(plan, full, /*decoding=*/true);
  share_budget();
  plan_running(plan, full, /*decoding=*/false);
  admit_waiting(plan, full);
}

/// An equal part for each session that has tokens to prefill, so that a long prompt delays the
/// other sessions' prompts by a factor, not by its length.
void Scheduler::share_budget() {
  sharing_.clear();
  const auto add = [&](Mailbox* owner) {
    if (!owner->paused && std::find(sharing_.begin(), sharing_.end(), owner) == sharing_.end())
      sharing_.push_back(owner);
  };
  for (const Sequence* sequence : running_)
    if (sequence->remaining() > 1) add(sequence->owner);
  for (const Line& line : lines_) add(line.owner);
  for (Mailbox* owner : sharing_)
    owner->prefill_rows = std::max<int64_t>(1, budget_ / static_cast<int64_t>(sharing_.size()));
}

void Scheduler::plan_running(std::vector<Chunk>& plan, std::vector<Sequence*>& full,
                             bool decoding) {
  round_ = running_;  // preemption shortens running_
  for (Sequence* sequence : round_) {
    if (budget_ == 0) return;
    if (!sequence->running || sequence->owner->paused) continue;
    if ((sequence->remaining() == 1) != decoding) continue;
    if (can_never_hold(*sequence)) {
      full.push_back(sequence);
      remove(*sequence);
      continue;
    }
    int64_t rows = std::min(sequence->remaining(), budget_);
    if (!decoding) rows = std::min(rows, sequence->owner->prefill_rows);
    if (rows == 0 || !make_space(*sequence, sequence->computed + rows, plan)) continue;
    plan.push_back({sequence, rows, decodes(*sequence)});
    budget_ -= rows;
    if (!decoding) sequence->owner->prefill_rows -= rows;
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
    Sequence* paused = newest_paused();
    Sequence& victim = paused != nullptr ? *paused : *running_.back();
    preempt(victim, plan);
    if (&victim == &sequence) return false;
  }
  return true;
}

Sequence* Scheduler::newest_paused() const {
  const auto found = std::find_if(running_.rbegin(), running_.rend(),
                                  [](const Sequence* s) { return s->owner->paused; });
  return found == running_.rend() ? nullptr : *found;
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
  sequence.running = false;
  sequence.table.release();
  sequence.computed = 0;
  line_of(sequence).waiting.push_front(&sequence);
}

void Scheduler::admit_waiting(std::vector<Chunk>& plan, std::vector<Sequence*>& full) {
  const auto rotate = [&] { lines_.splice(lines_.end(), lines_, lines_.begin()); };
  size_t passed = 0;  // lines in a row from which nobody can come now
  while (budget_ > 0 && has_room() && passed < lines_.size()) {
    Mailbox& owner = *lines_.front().owner;
    Sequence* next = owner.paused || owner.prefill_rows == 0 ? nullptr : next_of(lines_.front());
    if (next == nullptr) {
      rotate();
      ++passed;
      continue;
    }
    if (can_never_hold(*next)) {
      full.push_back(next);
      take_from_first_line(*next);
      continue;
    }
    if (!admit(*next, plan)) return;
    take_from_first_line(*next);
    passed = 0;
    const int64_t rows = std::min({next->remaining(), budget_, owner.prefill_rows});
    plan.push_back({next, rows, decodes(*next)});
    budget_ -= rows;
    owner.prefill_rows -= rows;
  }
}

/// Takes it out and gives the turn to the next session.
void Scheduler::take_from_first_line(Sequence& sequence) {
  Line& line = lines_.front();
  std::erase(line.waiting, &sequence);
  if (line.waiting.empty())
    lines_.pop_front();
  else
    lines_.splice(lines_.end(), lines_, lines_.begin());
}

Sequence* Scheduler::next_of(const Line& line) {
  const size_t count = std::min(line.waiting.size(), kMaxLookAhead);
  for (size_t i = 0; i < count; ++i)
    if (!waits_for_prefill(*line.waiting[i])) return line.waiting[i];
  return nullptr;
}

/// Will full blocks that it needs be computed soon by another, more than are cached now?
bool Scheduler::waits_for_prefill(const Sequence& sequence) {
  if (model_.settings().prefix_entries == 0) return false;
  const bool long_rope = model_.turns_long(sequence.length());
  const int64_t block_size = sequence.table.block_size();
  for (const Sequence* other : running_) {
    if (other->output_tokens() > 0 || other->owner->paused || other->long_rope != long_rope)
      continue;
    const auto [end, mine] = std::mismatch(other->ids.begin(), other->ids.end(),
                                           sequence.ids.begin(), sequence.ids.end());
    const int64_t common = std::min({static_cast<int64_t>(end - other->ids.begin()),
                                     other->request->storable_tokens, sequence.length() - 1});
    const int64_t shared = common / block_size * block_size;
    if (shared <= other->computed) continue;
    const auto cached = prefixes_.find(sequence.ids, long_rope, shared);
    if (static_cast<int64_t>(cached.size()) * block_size < shared) return true;
  }
  return false;
}

bool Scheduler::admit(Sequence& sequence, std::vector<Chunk>& plan) {
  // The last token is always computed: its logits are wanted.
  sequence.long_rope = model_.turns_long(sequence.length());
  const auto cached = prefixes_.find(sequence.ids, sequence.long_rope, sequence.length() - 1);
  sequence.table.share(cached);
  const int64_t hit = sequence.table.capacity();
  while (!has_blocks_for(sequence)) {
    Sequence* paused = newest_paused();
    if (paused == nullptr) {
      sequence.table.release();
      return false;
    }
    preempt(*paused, plan);
  }
  sequence.table.grow(sequence.length());
  sequence.computed = hit;
  if (!sequence.started) sequence.cached_tokens = hit;
  asked_tokens_ += sequence.ids.size();
  hit_tokens_ += static_cast<uint64_t>(hit);
  add_running(sequence);
  return true;
}

/// One block in reserve for each running sequence that may grow keeps the next steps from
/// preempting at once.
bool Scheduler::has_blocks_for(const Sequence& sequence) {
  const auto reserve = std::count_if(running_.begin(), running_.end(),
                                     [this](const Sequence* s) { return may_grow(*s); });
  const int32_t needed = sequence.table.missing(sequence.length()) + static_cast<int32_t>(reserve);
  prefixes_.make_room(needed);
  return needed <= pool_.free_blocks();
}

/// Whether it may come to need more blocks than it has.
bool Scheduler::may_grow(const Sequence& sequence) const {
  const modelkit::SamplingRequest& sampling = sequence.request->sampling;
  int64_t most = model_.context();
  if (sampling.max_tokens != 0)
    most = std::min(
        most, static_cast<int64_t>(sequence.request->prompt.size()) + int64_t{sampling.max_tokens});
  return sequence.table.capacity() < most;
}

}  // namespace spnl::mistralrs
