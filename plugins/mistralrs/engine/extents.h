#pragma once
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cache/block_cache.h"
#include "cache/kv_cache.h"
#include "cache/span_store.h"
#include "engine/sequence.h"
#include "engine/span_plan.h"

namespace spnl::mistralrs {

/// An extent that sequences see, on its way or complete. Whoever sees it holds it, and with it its
/// blocks.
struct Extent {
  Extent(std::shared_ptr<const ExtentPlan> of, BlockPool& pool, int32_t block_size)
      : plan(std::move(of)), table(pool, block_size) {}

  std::shared_ptr<const ExtentPlan> plan;
  BlockTable table;                   ///< once complete
  std::shared_ptr<Sequence> encoder;  ///< computes it; null: complete

  const BlockTable& blocks() const { return encoder ? encoder->table : table; }
  /// Whether all rows are computed after what is planned for this step.
  bool ready() const { return !encoder || encoder->computed + encoder->planned == plan->rows(); }
};

/// Blocks that a plan needs at most, all at once, when so many rows are its own.
BlockCounts most_blocks(const SpanPlan& plan, int64_t own_rows, const BlockPool& pool,
                        int32_t block_size);

/// Calls `visit` for each encoder that a sequence waits for, directly or through others, unless it
/// is in `visited`. Extents see extents in more ways than can be walked, so each is entered once.
template <class Visit>
void visit_encoders(const Sequence& sequence, std::unordered_set<const Sequence*>& visited,
                    const Visit& visit) {
  for (const auto& extent : sequence.sees) {
    if (extent->encoder == nullptr || !visited.insert(extent->encoder.get()).second) continue;
    visit(*extent->encoder);
    visit_encoders(*extent->encoder, visited, visit);
  }
}

/// The extents of admitted sequences. What a sequence needs and nobody has is computed once, by a
/// sequence of its own that nobody hears of (an encoder), however many wait for it. When the last
/// of those goes, so does the encoder. Complete extents are kept in memory, and on disk where there
/// is one. Used by one thread at a time.
class Extents {
 public:
  /// `disk`: null for none.
  Extents(KvCache& memory, BlockPool& pool, BlockCache& cache, SpanStore* disk)
      : memory_(memory), pool_(pool), cache_(cache), disk_(disk) {}

  /// All that a sequence needs: what there is, held already, and what is missing.
  class Claim {
   public:
    BlockCounts missing_blocks() const;
    /// Gives up copies of rows in other blocks, and so those blocks. False: there were none.
    bool drop_copies();

   private:
    friend class Extents;
    struct Part {
      BlockTable* table;
      int64_t* computed;
      int64_t rows, windowed_rows;  // that blocks are taken for at once
      std::vector<Block> copied;    // the one to copy from, or nothing
      int32_t copied_rows;
    };
    struct Made {
      std::shared_ptr<Extent> extent;
      size_t index;  // of the plan's extents
    };
    std::unordered_map<ChainKey, std::shared_ptr<Extent>, ChainKeyHash> all;  // by end
    std::vector<Made> made;  // in the order of the plan
    std::vector<Part> parts;
    BlockTable held;  // what is to be copied
    explicit Claim(BlockTable empty) : held(std::move(empty)) {}
  };

  /// For a sequence that is to run, with nothing computed. It holds what was found when this
  /// returns; release() takes that away again.
  Claim claim(Sequence& sequence);
  /// Takes the missing blocks, which must be free, and reads from disk what is there. Answers the
  /// encoders to be run, in order.
  std::vector<Sequence*> fulfil(Sequence& sequence, Claim& claim);

  /// The sequence holds nothing any more. Answers the encoders that nobody waits for: their blocks
  /// are free, and they live until forget_retired().
  std::vector<Sequence*> release(Sequence& sequence);
  /// An encoder has computed all its rows: others see them from now on.
  void seal(Sequence& encoder);
  void forget_retired() { retired_.clear(); }

 private:
  /// Of each extent of a plan what the cache has, or nothing where nobody needs it.
  using LookUp = std::vector<std::optional<BlockCache::Found>>;

  LookUp look_up(const SpanPlan& plan);
  bool in_flight(const ExtentPlan& plan) const;
  std::shared_ptr<Extent> find(const Claim& claim, const ExtentPlan& plan) const;
  std::shared_ptr<Extent> make(Claim& claim, const Sequence& sequence, size_t index,
                               const BlockCache::Found& found);
  void restore(const Sequence& sequence, Claim& claim);
  void complete(Extent& extent);
  void hold_found(Claim& claim, const BlockCache::Found& found, int64_t rows, BlockTable& table,
                  int64_t& computed);

  KvCache& memory_;
  BlockPool& pool_;
  BlockCache& cache_;
  SpanStore* const disk_;
  std::unordered_map<ChainKey, std::shared_ptr<Extent>, ChainKeyHash> in_flight_;
  std::vector<std::shared_ptr<Sequence>> retired_;  // of this step
};

}  // namespace spnl::mistralrs
