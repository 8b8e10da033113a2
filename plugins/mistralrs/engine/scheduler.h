#pragma once
#include <cstdint>
#include <deque>
#include <list>
#include <vector>

#include "cache/block_pool.h"
#include "engine/extents.h"
#include "engine/sequence.h"

namespace spnl::mistralrs {

class Model;

/// Rows [sequence->computed, + rows) of one sequence in the next forward; those past its ids are
/// guesses.
struct Chunk {
  Sequence* sequence;
  int64_t rows;
  bool decodes;  ///< one row for the token that was generated last
};

/// Who runs in the next step, of all sessions: continuous batching (Orca, OSDI 22) with chunked
/// prefill (Sarathi-Serve, arXiv 2403.02310).
///
/// Decoding rows go first; what is left of the token budget is shared evenly by the sessions that
/// have tokens to prefill. Admission is first come, first served within a session, and sessions
/// take turns. A sequence is admitted when the blocks for all its tokens are free, and nobody
/// passes one that waits for blocks. When a running sequence cannot grow, another is put back to
/// wait and is computed again later, which gives the same bits: one of a paused session, else the
/// one admitted last. So the one admitted first always moves, and everybody becomes that one. A
/// sequence that grew past the border to the long rotary frequencies is computed again as well.
///
/// A sequence that sees extents brings what is missing of them as sequences of their own
/// (encoders), with their blocks; it runs when they are complete, in the same step at best.
///
/// A sequence whose prompt begins like one that is being prefilled waits for those blocks rather
/// than compute them a second time. Used by one thread at a time.
class Scheduler {
 public:
  /// `disk`: null for none.
  Scheduler(const Model& model, KvCache& memory, BlockPool& pool, BlockCache& kept, SpanStore* disk)
      : model_(model), pool_(pool), kept_(kept), extents_(memory, pool, kept, disk) {}

  void add(Sequence& sequence);
  void add_running(Sequence& sequence);  ///< its blocks are filled already
  /// Takes a sequence out, wherever it is, and frees its blocks.
  void remove(Sequence& sequence);
  /// An encoder is complete: those that wait for it can run.
  void seal(Sequence& encoder);

  /// Fills `plan`; sequences that can never get enough blocks leave the scheduler and are listed in
  /// `full`.
  void schedule(std::vector<Chunk>& plan, std::vector<Sequence*>& full);

  bool has_room() const { return running_.size() < kMaxRunning; }
  size_t running() const { return running_.size(); }
  /// Tokens looked up in the prefix cache, and found.
  uint64_t asked_tokens() const { return asked_tokens_; }
  uint64_t hit_tokens() const { return hit_tokens_; }

 private:
  /// Decoding rows; below the token budget, so that prefill always moves.
  static constexpr size_t kMaxRunning = 256;
  /// Of a session's waiting sequences, those that may pass one that waits for a prefill.
  static constexpr size_t kMaxLookAhead = 256;

  /// The waiting sequences of one session, never empty.
  struct Line {
    Mailbox* owner;
    std::deque<Sequence*> waiting;
  };

  Line& line_of(Sequence& sequence);
  void plan_running(std::vector<Chunk>& plan, std::vector<Sequence*>& full, bool decoding);
  void adopt_encoders();
  void share_budget();
  void admit_waiting(std::vector<Chunk>& plan, std::vector<Sequence*>& full);
  Sequence* next_of(const Line& line);
  bool waits_for_prefill(const Sequence& sequence);
  void take_from_first_line(Sequence& sequence);
  void follow_length(Sequence& sequence) const;
  bool admit(Sequence& sequence, std::vector<Chunk>& plan);
  bool has_blocks(BlockCounts needed);
  void plan_rows(Sequence& sequence, bool decoding, std::vector<Chunk>& plan);
  bool make_space(Sequence& sequence, int64_t tokens, std::vector<Chunk>& plan);
  Sequence* newest_paused() const;
  Sequence& newest() const;
  void release(Sequence& sequence);
  void restart_grown(std::vector<Chunk>& plan);
  void preempt(Sequence& sequence, std::vector<Chunk>& plan);
  bool can_never_hold(const Sequence& sequence) const;
  bool may_grow(const Sequence& sequence) const;

  const Model& model_;
  BlockPool& pool_;
  BlockCache& kept_;
  Extents extents_;
  std::list<Line> lines_;           // the first is the next to be served
  std::vector<Sequence*> running_;  // by seniority
  std::vector<Sequence*> round_;    // what plan_running goes through; reused
  std::vector<Mailbox*> sharing_;   // sessions that share the budget; reused
  int64_t budget_ = 0;              // rows left in this step
  uint64_t admitted_ = 0;           // the highest seniority given
  uint64_t asked_tokens_ = 0, hit_tokens_ = 0;
};

}  // namespace spnl::mistralrs
