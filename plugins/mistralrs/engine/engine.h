#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "engine/model.h"
#include "engine/output.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"

namespace spnl::mistralrs {

/// One session: its sequences and their scheduler. Engines of one model share its Runtime, whose
/// mutex is held while an engine schedules and runs, so sessions on different threads take turns
/// step by step. Not thread-safe itself, but for cancel().
class Engine {
 public:
  /// Hears of events in order, outside the mutex; nonzero: cancel this request.
  using Listener = std::function<int32_t(const Event&)>;
  using Note = std::function<void(const std::string&)>;

  /// `model` must have a runtime and outlive the engine.
  Engine(Model& model, Listener listener, Note note);
  ~Engine();

  /// Queues a request, id given here. Throws modelkit::Error(kInvalid) when its prompt is empty,
  /// holds an id outside the vocabulary, or can never fit the context or the cache. False: the
  /// queue is full.
  bool submit(Request request, uint64_t& id);
  /// One forward over all that can run: schedule, run, sample, deliver. Answers how many requests
  /// are not finished.
  uint32_t step();
  /// Any thread. Takes effect when the next step begins.
  void cancel(uint64_t id);
  void cancel_all();  ///< finishes everything now; events as in step
  uint32_t alive() const { return static_cast<uint32_t>(live_.size()); }

 private:
  void finish_cancelled();
  void run_planned();
  void advance(const Chunk& chunk);
  void sample_complete();
  void fork_followers(Sequence& leader, std::span<const float> logits);
  void retire_finished();
  void store_prefix(const Sequence& sequence);
  void deliver();
  void report(int64_t prefill_rows, int64_t decode_rows, Clock::duration elapsed);
  void fail_planned(const std::string& error);

  Model& model_;
  Runtime& runtime_;
  const Listener listener_;
  const Note note_;
  Scheduler scheduler_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
  std::set<uint64_t> live_;  // requests with unfinished samples
  uint64_t next_id_ = 1;

  // Of the current step; members so that a step allocates nothing once warm.
  std::vector<Chunk> plan_;
  std::vector<Sequence*> full_;
  std::vector<Sequence*> complete_;  // by logits row of the batch
  Batch batch_;
  std::vector<Event> events_;

  std::mutex cancel_mutex_;
  std::vector<uint64_t> cancelled_;
  uint32_t reported_running_ = 0, reported_waiting_ = 0;
  uint64_t reported_asked_ = 0, reported_hit_ = 0;
};

}  // namespace spnl::mistralrs
