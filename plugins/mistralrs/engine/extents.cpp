#include "engine/extents.h"

#include <algorithm>

namespace spnl::mistralrs {
namespace {

bool same_tokens(const ExtentPlan& a, const ExtentPlan& b) {
  return a.root == b.root && a.ids == b.ids && a.positions == b.positions;
}

/// Marks which tokens of the prompt are there before the sequence runs: those of an extent's first
/// `hit` rows. Tokens that blend computes again come in a later extent than the stored ones.
void mark_cached(const ExtentPlan& plan, int64_t hit, std::vector<uint8_t>& cached) {
  for (size_t row = 0; row < plan.prompt_index.size(); ++row)
    if (const int32_t index = plan.prompt_index[row]; index >= 0)
      cached[static_cast<size_t>(index)] = static_cast<int64_t>(row) < hit;
}

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

int32_t Extents::Claim::missing_blocks() const {
  int32_t blocks = 0;
  for (const Part& part : parts) blocks += part.table->missing(part.rows);
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
  std::vector<uint8_t> cached(sequence.request->prompt.size());
  const LookUp needed = look_up(*sequence.plan);
  for (size_t i = 0; i < needed.size(); ++i) {
    if (!needed[i]) continue;
    const auto& plan = sequence.plan->extents[i];
    int64_t hit = plan->rows();
    std::shared_ptr<Extent> extent = find(claim, *plan);
    if (extent == nullptr) extent = make(claim, plan, sequence, *needed[i], hit);
    claim.all.emplace(plan->end, std::move(extent));
    mark_cached(*plan, hit, cached);
  }
  const Chain own = sequence.chain();
  sequence.computed = 0;
  // The last token is always computed: its logits are wanted.
  hold_found(claim, cache_.find(own, own.rows() - 1, false), own.rows(), sequence.table,
             sequence.computed);
  const int32_t copied = claim.parts.back().copied_rows;
  mark_cached(*sequence.plan->own, sequence.computed + copied, cached);
  if (!sequence.started) sequence.cached = std::move(cached);
  for (const SeenRun& run : sequence.plan->own->sees)
    sequence.sees.push_back(claim.all.at(run.extent->end));
  return claim;
}

/// A sequence needs what it sees, and what is computed for it needs what that sees in turn.
Extents::LookUp Extents::look_up(const SpanPlan& plan) {
  LookUp needed(plan.extents.size());
  std::unordered_set<ChainKey, ChainKeyHash> seen;
  const auto see = [&](const ExtentPlan& by) {
    for (const SeenRun& run : by.sees) seen.insert(run.extent->end);
  };
  see(*plan.own);
  for (size_t i = needed.size(); i-- > 0;) {
    const ExtentPlan& extent = *plan.extents[i];
    if (!seen.contains(extent.end)) continue;
    needed[i] = cache_.find(extent.chain(), extent.rows(), true);
    if (needed[i]->rows < extent.rows() && !in_flight(extent)) see(extent);
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

/// One that is in the cache, or else is to be computed; `hit` becomes the rows that are there.
std::shared_ptr<Extent> Extents::make(Claim& claim, const std::shared_ptr<const ExtentPlan>& plan,
                                      const Sequence& sequence, const BlockCache::Found& found,
                                      int64_t& hit) {
  const int32_t block_size = memory_.block_size();
  auto extent = std::make_shared<Extent>(plan, pool_, block_size);
  if (found.rows == plan->rows()) {
    extent->table.share(found.blocks);
    return extent;
  }
  extent->encoder = make_encoder(plan, sequence, pool_, block_size);
  Sequence& encoder = *extent->encoder;
  hold_found(claim, found, plan->rows(), encoder.table, encoder.computed);
  for (const SeenRun& run : plan->sees) encoder.sees.push_back(claim.all.at(run.extent->end));
  hit = found.rows + found.next_rows;
  claim.made.push_back(extent);
  return extent;
}

void Extents::hold_found(Claim& claim, const BlockCache::Found& found, int64_t rows,
                         BlockTable& table, int64_t& computed) {
  table.share(found.blocks);
  computed = found.rows;
  Claim::Part part{&table, &computed, rows, {}, found.next_rows};
  if (found.next_rows > 0) {
    part.copied = {found.next_block};
    claim.held.share(part.copied);
  }
  claim.parts.push_back(std::move(part));
}

std::vector<Sequence*> Extents::fulfil(Sequence& sequence, Claim& claim) {
  for (Claim::Part& part : claim.parts) {
    part.table->grow(part.rows);
    if (part.copied.empty()) continue;
    const auto to = static_cast<size_t>(*part.computed / memory_.block_size());
    memory_.copy_block(part.copied.front(), part.table->blocks()[to], part.copied_rows);
    *part.computed += part.copied_rows;
  }
  std::vector<Sequence*> encoders;
  for (const auto& extent : claim.made) {
    in_flight_[extent->plan->end] = extent;
    extent->encoder->seniority = sequence.seniority;
    encoders.push_back(extent->encoder.get());
  }
  return encoders;
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
  extent.table = std::move(encoder.table);
  if (plan.store)
    cache_.store(
        plan.chain(), extent.table,
        {.sequence = false, .last_part = true, .pin = plan.pin, .next_use = plan.next_use});
  encoder.sees.clear();
  retired_.push_back(std::move(extent.encoder));
  in_flight_.erase(found);
}

}  // namespace spnl::mistralrs
