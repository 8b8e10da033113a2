#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/mailbox.h"
#include "engine/step_loop.h"

namespace spnl::mistralrs {

/// What the sessions of one model share: whichever of them steps, the step is for the sequences of
/// all, and each hears of its own from its mailbox. Thread-safe.
class Engine {
 public:
  /// `model` must have a runtime and outlive the engine.
  explicit Engine(Model& model);

  void join(Mailbox& mailbox);
  /// Takes effect when the next step begins, as cancel() does. The samples of one request.
  void submit(std::vector<std::shared_ptr<Sequence>> samples);
  void cancel(const Mailbox& mailbox, uint64_t request);
  /// Answers what the mailbox holds; when that is nothing, after a step of this thread or another
  /// thread.
  std::vector<Event> step(Mailbox& mailbox);
  /// Finishes the mailbox's sequences and forgets it. Answers the last events.
  std::vector<Event> leave(Mailbox& mailbox);

  uint64_t next_request_id();

  /// The right to use the model's runtime. Given in order of arrival.
  class Turn {
   public:
    explicit Turn(Engine& engine) : Turn(engine, nullptr) {}
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    friend class Engine;
    /// Gives up when something arrives in `mailbox` (may be null) first.
    Turn(Engine& engine, const Mailbox* mailbox);

    Engine& engine_;
    bool mine_ = false;
  };

 private:
  void begin_step();
  void end_step();
  std::vector<Event> take(Mailbox& mailbox);
  void publish();

  Runtime& runtime_;
  StepLoop loop_;  // of the thread whose turn it is

  std::mutex mutex_;  // guards all below, and the mailboxes' events
  std::condition_variable turn_over_;
  std::deque<uint64_t> line_;  // tickets of threads that wait for their turn
  uint64_t next_ticket_ = 0;
  bool turn_taken_ = false;
  std::vector<Mailbox*> mailboxes_;
  std::vector<std::vector<std::shared_ptr<Sequence>>> submitted_;
  std::vector<std::pair<const Mailbox*, uint64_t>> cancelled_;
  // As they were after the last step, but for what was submitted since.
  size_t live_ = 0, running_ = 0;  // sequences
  uint64_t cache_bytes_ = 0;
};

}  // namespace spnl::mistralrs
