#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/model.h"
#include "engine/output.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/speculation.h"

namespace spnl::mistralrs {

/// One forward after the other over the live sequences of all sessions: schedule, run, sample, end.
/// Used by one thread at a time.
class StepLoop {
 public:
  /// `model` must have a runtime and outlive the loop.
  explicit StepLoop(Model& model);

  /// The samples of one request: the first computes the prompt, the others share it.
  void add(std::vector<std::shared_ptr<Sequence>> samples);
  /// Finishes all samples of a request, or of a session, and frees their blocks.
  void cancel(const Mailbox& owner, uint64_t request);
  void cancel_all(const Mailbox& owner);
  void step();
  /// What happened since the last call, in order; each sample's last event has `finished`.
  std::vector<Event> take_events();

  size_t running() const { return scheduler_.running(); }

 private:
  template <class Which>
  void cancel_if(const Which& which);
  void run_planned();
  void advance(const Chunk& chunk);
  void sample_rows();
  void fork_followers(Sequence& leader, std::span<const float> logits);
  void retire_finished();
  void store_rows(const Sequence& sequence);
  void keep_what_windows_leave();
  void report(Clock::duration elapsed);
  void fail_planned(const std::string& error);

  /// A row of logits: of the last token of a sequence, or of its n-th guess.
  struct SampleRow {
    Sequence* sequence;
    size_t guess;  // 0: none
  };
  void sample(const SampleRow& row, std::span<const float> logits);

  Model& model_;
  Runtime& runtime_;
  Scheduler scheduler_;
  Speculator speculator_;
  std::vector<std::shared_ptr<Sequence>> sequences_;  // not finished

  // Of the current step; members so that a step allocates little once warm.
  std::vector<Chunk> plan_;
  std::vector<Sequence*> full_;
  std::vector<SampleRow> samples_;  // by logits row of the batch
  Batch batch_;
  std::vector<Event> events_;  // not taken
};

}  // namespace spnl::mistralrs
