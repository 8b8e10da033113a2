#include "engine/scheduler.h"

#include <algorithm>
#include <unordered_set>

#include "engine/mailbox.h"
#include "engine/model.h"

namespace spnl::mistralrs {
namespace {

bool decodes(const Sequence& sequence) {
  return sequence.output_tokens() > 0 && sequence.remaining() == 1;
}

/// Encoders stop with the last sequence that waits for them.
void drop_stopped(std::vector<Chunk>& plan) {
  std::erase_if(plan, [](const Chunk& chunk) { return !chunk.sequence->running; });
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
  release(sequence);
}

/// Frees its blocks, and takes out the encoders that nobody waits for any more.
void Scheduler::release(Sequence& sequence) {
  for (Sequence* encoder : extents_.release(sequence)) {
    encoder->running = false;
    encoder->planned = 0;
    std::erase(running_, encoder);
  }
}

void Scheduler::seal(Sequence& encoder) {
  encoder.running = false;
  std::erase(running_, &encoder);
  extents_.seal(encoder);
}

void Scheduler::schedule(std::vector<Chunk>& plan, std::vector<Sequence*>& full) {
  plan.clear();
  extents_.forget_retired();
  for (Sequence* sequence : running_) sequence->planned = 0;
  adopt_encoders();
  restart_grown(plan);
  budget_ = kTokenBudget;
  plan_running(plan, full, /*decoding=*/true);
  share_budget();
  plan_running(plan, full, /*decoding=*/false);
  admit_waiting(plan, full);
}

/// An encoder belongs to a session that waits for it, if there is one to one that listens: the one
/// that it was made for may be paused, or closed.
void Scheduler::adopt_encoders() {
  std::unordered_set<const Sequence*> adopted;
  for (const bool paused : {false, true})
    for (Sequence* sequence : running_)
      if (!sequence->encodes && sequence->owner->paused == paused)
        visit_encoders(*sequence, adopted,
                       [&](Sequence& encoder) { encoder.owner = sequence->owner; });
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
      drop_stopped(plan);
      continue;
    }
    plan_rows(*sequence, decoding, plan);
  }
}

/// As many rows as the budget has, if all that they see is computed by then.
void Scheduler::plan_rows(Sequence& sequence, bool decoding, std::vector<Chunk>& plan) {
  int64_t rows = std::min(sequence.remaining(), budget_);
  if (!decoding) rows = std::min(rows, sequence.owner->prefill_rows);
  if (rows == 0 || !sequence.ready()) return;
  if (!make_space(sequence, sequence.computed + rows, plan)) return;
  plan.push_back({&sequence, rows, decodes(sequence)});
  sequence.planned = rows;
  budget_ -= rows;
  if (!decoding) sequence.owner->prefill_rows -= rows;
}

/// More blocks than the whole pool has, its extents' included.
bool Scheduler::can_never_hold(const Sequence& sequence) const {
  return !pool_.can_hold(
      most_blocks(*sequence.plan, sequence.rows(), pool_, sequence.table.block_size()));
}

/// Grows the sequence's table; false: it had to give way itself.
bool Scheduler::make_space(Sequence& sequence, int64_t tokens, std::vector<Chunk>& plan) {
  sequence.table.leave_behind(sequence.computed);
  while (!sequence.table.grow(tokens)) {
    kept_.make_room(sequence.table.missing(tokens));
    if (sequence.table.grow(tokens)) return true;
    Sequence* paused = newest_paused();
    Sequence& victim = paused != nullptr ? *paused : newest();
    preempt(victim, plan);
    if (&victim == &sequence) return false;
  }
  return true;
}

Sequence* Scheduler::newest_paused() const {
  const auto found = std::find_if(running_.rbegin(), running_.rend(), [](const Sequence* s) {
    return !s->encodes && s->owner->paused;
  });
  return found == running_.rend() ? nullptr : *found;
}

/// Encoders go with those that wait for them.
Sequence& Scheduler::newest() const {
  return **std::find_if(running_.rbegin(), running_.rend(),
                        [](const Sequence* s) { return !s->encodes; });
}

/// What is cached was turned by the short frequencies: all of it is computed again.
void Scheduler::restart_grown(std::vector<Chunk>& plan) {
  for (size_t i = running_.size(); i-- > 0;) {  // newest first: the oldest ends up in front
    Sequence& sequence = *running_[i];
    if (!sequence.encodes && !sequence.long_rope && model_.turns_long(sequence.length())) {
      preempt(sequence, plan);
      i = std::min(i, running_.size());  // its encoders may be gone as well
    }
  }
}

void Scheduler::preempt(Sequence& sequence, std::vector<Chunk>& plan) {
  std::erase(running_, &sequence);
  sequence.running = false;
  release(sequence);
  drop_stopped(plan);
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
    follow_length(*next);
    if (can_never_hold(*next)) {
      full.push_back(next);
      take_from_first_line(*next);
      continue;
    }
    if (!admit(*next, plan)) return;
    take_from_first_line(*next);
    passed = 0;
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
  const ExtentPlan& own = *sequence.plan->own;
  const int64_t block_size = sequence.table.block_size();
  for (const Sequence* other : running_) {
    const ExtentPlan& theirs = *other->plan->own;
    if (other->output_tokens() > 0 || other->owner->paused || theirs.root != own.root) continue;
    const auto [end, mine] =
        std::mismatch(theirs.ids.begin(), theirs.ids.end(), own.ids.begin(), own.ids.end());
    const int64_t common =
        std::min({end - theirs.ids.begin(), other->storable_rows(), sequence.rows() - 1});
    const int64_t shared = common / block_size * block_size;
    if (shared <= other->computed) continue;
    if (kept_.find(own.chain(), shared, false).rows < shared) return true;
  }
  return false;
}

/// The frequencies by which it turns, and so what it sees, may be others than when it was
/// submitted.
void Scheduler::follow_length(Sequence& sequence) const {
  sequence.long_rope = model_.turns_long(sequence.length());
  if (sequence.plan->long_rope != sequence.long_rope)
    sequence.plan =
        plan_spans(sequence.request->prompt, sequence.request->spans, sequence.long_rope, kept_);
}

bool Scheduler::admit(Sequence& sequence, std::vector<Chunk>& plan) {
  Extents::Claim claim = extents_.claim(sequence);
  while (!has_blocks(claim.missing_blocks())) {
    Sequence* paused = newest_paused();
    if (paused != nullptr) {
      preempt(*paused, plan);
    } else if (!claim.drop_copies()) {
      release(sequence);
      drop_stopped(plan);
      return false;
    }
  }
  const std::vector<Sequence*> encoders = extents_.fulfil(sequence, claim);
  for (Sequence* encoder : encoders) add_running(*encoder);
  add_running(sequence);
  asked_tokens_ += sequence.request->prompt.size();
  hit_tokens_ += static_cast<uint64_t>(sequence.cached_tokens());
  for (Sequence* encoder : encoders) plan_rows(*encoder, /*decoding=*/false, plan);
  plan_rows(sequence, /*decoding=*/false, plan);
  return true;
}

/// One block in reserve for each running sequence that may grow keeps the next steps from
/// preempting at once.
bool Scheduler::has_blocks(BlockCounts needed) {
  const auto reserve = static_cast<int32_t>(std::count_if(
      running_.begin(), running_.end(), [this](const Sequence* s) { return may_grow(*s); }));
  needed += {reserve, pool_.window() == 0 ? 0 : reserve};
  kept_.make_room(needed);
  return pool_.fits(needed);
}

/// Whether it may come to need more blocks than it has.
bool Scheduler::may_grow(const Sequence& sequence) const {
  if (sequence.request->prefill_only) return false;  // it has them all
  const modelkit::SamplingRequest& sampling = sequence.request->sampling;
  int64_t most = model_.context();
  if (sampling.max_tokens != 0)
    most = std::min(
        most, static_cast<int64_t>(sequence.request->prompt.size()) + int64_t{sampling.max_tokens});
  return sequence.table.capacity() < most - (sequence.length() - sequence.rows());
}

}  // namespace spnl::mistralrs
