#include "engine/extents.h"

#include <algorithm>

#include "engine/model.h"

namespace spnl::mistralrs {
namespace {

bool same_tokens(const ExtentPlan& a, const ExtentPlan& b) {
  return a.root == b.root && a.ids == b.ids && a.positions == b.positions;
}

/// Marks which tokens of the prompt are there before the sequence runs: of each of the plan's
/// extents the first `hits` rows. Tokens that blend computes again come in a later extent than the
/// stored ones.
void mark_cached(Sequence& sequence, const std::vector<int64_t>& hits) {
  const SpanPlan& plan = *sequence.plan;
  sequence.cached.assign(sequence.request->prompt.size(), 0);
  const auto mark = [&](const ExtentPlan& extent, int64_t hit) {
    for (size_t row = 0; row < extent.prompt_index.size(); ++row)
      if (const int32_t index = extent.prompt_index[row]; index >= 0)
        sequence.cached[static_cast<size_t>(index)] = static_cast<int64_t>(row) < hit;
  };
  for (size_t i = 0; i < hits.size(); ++i) mark(*plan.extents[i], hits[i]);
  mark(*plan.own, sequence.computed);
}

/// Which extents somebody sees.
class Seen {
 public:
  explicit Seen(const ExtentPlan& by) { add(by); }
  void add(const ExtentPlan& by) {
    for (const SeenRun& run : by.sees) ends_.insert(run.extent->end);
  }
  bool contains(const ExtentPlan& extent) const { return ends_.contains(extent.end); }

 private:
  std::unordered_set<ChainKey, ChainKeyHash> ends_;
};

std::shared_ptr<Sequence> make_encoder(const std::shared_ptr<const ExtentPlan>& plan,
                                       const Sequence& creator, BlockPool& pool,
                                       int32_t block_size) {
  auto request = std::make_shared<Request>();
  request->prompt = plan->ids;
  request->prefill_only = true;
  auto alone = std::make_shared<const SpanPlan>(SpanPlan{plan, {}, creator.plan->long_rope});
  auto encoder = std::make_shared<Sequence>(std::move(request), std::move(alone), 0, *creator.owner,
                                            pool, block_size);
  encoder->long_rope = creator.plan->long_rope;
  encoder->seniority = creator.seniority;
  encoder->encodes = true;
  return encoder;
}

}  // namespace

BlockCounts most_blocks(const SpanPlan& plan, int64_t own_rows, const BlockPool& pool,
                        int32_t block_size) {
  BlockCounts blocks = most_blocks(pool, own_rows, block_size, kTokenBudget);
  for (const auto& extent : plan.extents)
    if (!extent->repeated) blocks += most_blocks(pool, extent->rows(), block_size, kTokenBudget);
  return blocks;
}

BlockCounts Extents::Claim::missing_blocks() const {
  BlockCounts blocks;
  for (const Part& part : parts) blocks += part.table->missing(part.rows, part.windowed_rows);
  return blocks;
}

bool Extents::Claim::drop_copies() {
  if (held.blocks().empty()) return false;
  held.release();
  for (Part& part : parts) part.copied.clear();
  return true;
}

Extents::Claim Extents::claim(Sequence& sequence) {
  Claim claim(BlockTable(pool_, memory_.block_size()));
  const LookUp needed = look_up(*sequence.plan);
  for (size_t i = 0; i < needed.size(); ++i) {
    if (!needed[i]) continue;
    const ExtentPlan& plan = *sequence.plan->extents[i];
    std::shared_ptr<Extent> extent = find(claim, plan);
    if (extent == nullptr) extent = make(claim, sequence, i, *needed[i]);
    claim.all.emplace(plan.end, std::move(extent));
  }
  const Chain own = sequence.chain();
  sequence.computed = 0;
  // The last token is always computed: its logits are wanted.
  hold_found(claim, cache_.find(own, own.rows() - 1, false), own.rows(), sequence.table,
             sequence.computed);
  for (const SeenRun& run : sequence.plan->own->sees)
    sequence.sees.push_back(claim.all.at(run.extent->end));
  return claim;
}

/// A sequence needs what it sees, and what is computed for it needs what that sees in turn.
Extents::LookUp Extents::look_up(const SpanPlan& plan) {
  LookUp needed(plan.extents.size());
  Seen seen(*plan.own);
  for (size_t i = needed.size(); i-- > 0;) {
    const ExtentPlan& extent = *plan.extents[i];
    if (!seen.contains(extent)) continue;
    needed[i] = cache_.find(extent.chain(), extent.rows(), true);
    if (needed[i]->rows < extent.rows() && !in_flight(extent)) seen.add(extent);
  }
  return needed;
}

bool Extents::in_flight(const ExtentPlan& plan) const {
  const auto found = in_flight_.find(plan.end);
  return found != in_flight_.end() && same_tokens(*found->second->plan, plan);
}

/// One that is on its way already, or that this claim has.
std::shared_ptr<Extent> Extents::find(const Claim& claim, const ExtentPlan& plan) const {
  if (const auto own = claim.all.find(plan.end); own != claim.all.end()) return own->second;
  return in_flight(plan) ? in_flight_.at(plan.end) : nullptr;
}

/// The extent of that index in the sequence's plan: in the cache, or else to be computed.
std::shared_ptr<Extent> Extents::make(Claim& claim, const Sequence& sequence, size_t index,
                                      const BlockCache::Found& found) {
  const int32_t block_size = memory_.block_size();
  const std::shared_ptr<const ExtentPlan>& plan = sequence.plan->extents[index];
  auto extent = std::make_shared<Extent>(plan, pool_, block_size);
  if (found.rows == plan->rows()) {
    extent->table.share(found.blocks);
    return extent;
  }
  extent->encoder = make_encoder(plan, sequence, pool_, block_size);
  Sequence& encoder = *extent->encoder;
  hold_found(claim, found, plan->rows(), encoder.table, encoder.computed);
  for (const SeenRun& run : plan->sees) encoder.sees.push_back(claim.all.at(run.extent->end));
  claim.made.push_back({extent, index});
  return extent;
}

void Extents::hold_found(Claim& claim, const BlockCache::Found& found, int64_t rows,
                         BlockTable& table, int64_t& computed) {
  table.share(found.blocks);
  computed = found.rows;
  // Windowed blocks for the first step that has a whole window behind it: later ones use those
  // again.
  const int64_t windowed_rows =
      std::min(rows, std::max<int64_t>(pool_.window(), found.rows) + kTokenBudget);
  Claim::Part part{&table, &computed, rows, windowed_rows, {}, found.next_rows};
  if (found.next_rows > 0) {
    part.copied = {found.next_block};
    claim.held.share(part.copied);
  }
  claim.parts.push_back(std::move(part));
}

std::vector<Sequence*> Extents::fulfil(Sequence& sequence, Claim& claim) {
  for (Claim::Part& part : claim.parts) {
    part.table->grow(part.rows, part.windowed_rows);
    if (part.copied.empty()) continue;
    const auto to = static_cast<size_t>(*part.computed / memory_.block_size());
    memory_.copy_block(part.copied.front(), part.table->block(to), part.copied_rows);
    *part.computed += part.copied_rows;
  }
  restore(sequence, claim);
  std::vector<int64_t> hits;
  for (const auto& plan : sequence.plan->extents)
    hits.push_back(claim.all.contains(plan->end) ? plan->rows() : 0);
  std::vector<Sequence*> encoders;
  for (const auto& [extent, index] : claim.made) {
    in_flight_[extent->plan->end] = extent;
    extent->encoder->seniority = sequence.seniority;
    hits[index] = extent->encoder->computed;
    encoders.push_back(extent->encoder.get());
  }
  if (!sequence.started) mark_cached(sequence, hits);
  return encoders;
}

/// Reads what is to be computed from disk, where it is there, those first that see others: what is
/// complete needs nothing computed that it once saw.
void Extents::restore(const Sequence& sequence, Claim& claim) {
  if (disk_ == nullptr) return;
  Seen seen(*sequence.plan->own);
  for (size_t i = claim.made.size(); i-- > 0;) {
    Extent& extent = *claim.made[i].extent;
    const std::shared_ptr<const ExtentPlan> plan = extent.plan;
    Sequence& encoder = *extent.encoder;
    const bool needed = seen.contains(*plan);
    if (needed &&
        !(encoder.table.grow(plan->rows()) &&  // windowed blocks of all rows, for now
          disk_->read(plan->end, plan->chain(), encoder.table.numbers(), encoder.computed))) {
      seen.add(*plan);
      continue;
    }
    if (needed)
      complete(extent);
    else
      claim.all.erase(plan->end);
    claim.made.erase(claim.made.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

/// All its rows are in its encoder's blocks.
void Extents::complete(Extent& extent) {
  const ExtentPlan& plan = *extent.plan;
  extent.table = std::move(extent.encoder->table);
  extent.table.leave_behind(plan.rows());
  if (plan.store)
    cache_.store(
        plan.chain(), extent.table,
        {.sequence = false, .last_part = true, .pin = plan.pin, .next_use = plan.next_use});
  extent.encoder->sees.clear();
  retired_.push_back(std::move(extent.encoder));
}

std::vector<Sequence*> Extents::release(Sequence& sequence) {
  sequence.table.release();
  sequence.sees.clear();
  sequence.computed = sequence.planned = 0;
  std::vector<Sequence*> abandoned;
  const auto unseen = [](const auto& entry) { return entry.second.use_count() == 1; };
  for (auto it = in_flight_.begin(); it != in_flight_.end();) {
    it = std::find_if(it, in_flight_.end(), unseen);
    if (it == in_flight_.end()) break;
    const std::shared_ptr<Sequence> encoder = it->second->encoder;
    encoder->table.release();
    encoder->sees.clear();  // which others may become unseen by
    abandoned.push_back(encoder.get());
    retired_.push_back(encoder);
    in_flight_.erase(it);
    it = in_flight_.begin();
  }
  return abandoned;
}

void Extents::seal(Sequence& encoder) {
  const auto found = in_flight_.find(encoder.plan->own->end);
  Extent& extent = *found->second;
  const ExtentPlan& plan = *extent.plan;
  if (plan.store && disk_ != nullptr) disk_->write(plan.end, plan.chain(), encoder.table.numbers());
  complete(extent);
  in_flight_.erase(found);
}

}  // namespace spnl::mistralrs
