#pragma once
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "backends/generation.h"
#include "backends/model_strand.h"
#include "spnl/backend.h"
#include "spnl/backends.h"

namespace spnl::backends {

/// The generations of one model: one session with the plugin, opened at the first generation,
/// stepped on the model's strand while anything is alive. What the plugin does wrong (a step that
/// fails, a FINISH that never comes, events of unknown sequences) ends generations with an error,
/// never without one.
class Session : public std::enable_shared_from_this<Session> {
 public:
  using Log = std::function<void(LogLevel, const std::string&)>;

  /// `table`, `model` and `strand` must be valid until close() returned.
  Session(const spnl_backend& table, spnl_model* model, bool spans, ModelStrand& strand, Log log);

  /// Any thread. Throws Error(kEvaluation) when the model is closed, Error(kUsage) for absurd
  /// numbers of samples.
  uint64_t generate(GenerateRequest request, GenerateHandlers handlers);
  /// Any thread.
  void cancel(uint64_t generation);
  /// Any thread. Whether no generation is under way.
  bool idle();
  /// The strand, as its last job: ends everything as cancelled and closes the session.
  void close();

 private:
  using Entry = std::shared_ptr<Generation>;
  struct State {  ///< what cancel() needs to know, from any thread
    bool submitted = false, cancelled = false;
    uint64_t sequence = 0;
  };

  static int32_t on_event(void* user, const spnl_event* event) noexcept;

  // All of these: strand only.
  void schedule();
  void pump();
  bool submit_waiting();
  spnl_status submit(const Entry& generation, std::string& problem);
  spnl_status open_session(std::string& problem);
  void drop_cancelled();
  void give_up_when_stuck();
  void step();
  void deliver();
  void fail_session(const std::string& reason);
  void close_session();
  void end_all(std::unordered_map<uint64_t, Entry> generations, FinishReason reason,
               const std::string& error);
  void complete(const Entry& generation);
  bool is_cancelled(uint64_t generation);

  const spnl_backend& table_;
  spnl_model* const model_;
  const bool spans_;
  ModelStrand& strand_;
  const Log log_;

  std::mutex mutex_;  ///< guards the next three
  std::unordered_map<uint64_t, State> states_;
  spnl_session* session_ =
      nullptr;  ///< written on the strand, under the lock; so the strand reads it without
  uint64_t next_id_ = 1;

  std::deque<Entry> waiting_;                    ///< not accepted by the plugin yet
  std::unordered_map<uint64_t, Entry> running_;  ///< accepted, not finished
  std::vector<EventCopy> events_;                ///< of the running step
  std::atomic<std::thread::id> inside_;          ///< the thread in step() or session_close()
  std::atomic<bool> foreign_event_ = false;
  std::atomic<bool> cancel_seen_ = false;  ///< since waiting_ was last looked through
  bool scheduled_ = false, closed_ = false;
  unsigned quiet_steps_ = 0;  ///< steps in a row that brought no event
  bool fast_step_ = false;    ///< the last one was over at once
  unsigned stuck_ = 0;        ///< times that the plugin was busy with nothing to do
};

}  // namespace spnl::backends
