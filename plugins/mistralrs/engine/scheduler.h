#pragma once
#include <deque>
#include <vector>

#include "cache/block_pool.h"
#include "cache/prefix_cache.h"
#include "engine/sequence.h"

namespace spnl::mistralrs {

class Model;

/// Rows [sequence->computed, + rows) of one sequence in the next forward.
struct Chunk {
  Sequence* sequence;
  int64_t rows;
};

/// Who runs in the next step: continuous batching (Orca, OSDI 22) with chunked prefill
/// (Sarathi-Serve, arXiv 2403.02310). First come, first served; decoding rows first, then prefill
/// chunks fill the token budget. A sequence is admitted when the blocks for all its tokens are
/// free; when a running one cannot grow, the newest is put back to wait and is computed again
/// later, which gives the same bits. So is one that grew past the border to the long rotary
/// frequencies. Called under the runtime's mutex.
class Scheduler {
 public:
  Scheduler(const Model& model, BlockPool& pool, PrefixCache& prefixes)
      : model_(model), pool_(pool), prefixes_(prefixes) {}

  void add(Sequence& sequence) { waiting_.push_back(&sequence); }
  void add_running(Sequence& sequence) {
    running_.push_back(&sequence);
  }  ///< its blocks are filled already
  /// Takes a sequence out, wherever it is, and frees its blocks.
  void remove(Sequence& sequence);

  /// Fills `plan`; sequences that can never get enough blocks are finished (kLength) and listed in
  /// `full`.
  void schedule(std::vector<Chunk>& plan, std::vector<Sequence*>& full);

  bool has_room() const { return running_.size() < kMaxRunning; }
  size_t running() const { return running_.size(); }
  size_t waiting() const { return waiting_.size(); }
  uint64_t asked_tokens() const {
    return asked_tokens_;
  }  ///< looked up in the prefix cache, and found
  uint64_t hit_tokens() const { return hit_tokens_; }

 private:
  static constexpr size_t kMaxRunning =
      256;  // decoding rows; below the token budget, so that prefill always moves

  void plan_running(std::vector<Chunk>& plan, std::vector<Sequence*>& full, int64_t& budget,
                    bool decoding);
  bool admit_first();
  bool make_space(Sequence& sequence, int64_t tokens, std::vector<Chunk>& plan);
  void restart_grown(std::vector<Chunk>& plan);
  void preempt(Sequence& sequence, std::vector<Chunk>& plan);
  bool can_never_hold(const Sequence& sequence) const;

  const Model& model_;
  BlockPool& pool_;
  PrefixCache& prefixes_;
  std::deque<Sequence*> waiting_;
  std::vector<Sequence*> running_;  // oldest first
  uint64_t asked_tokens_ = 0, hit_tokens_ = 0;
};

}  // namespace spnl::mistralrs
