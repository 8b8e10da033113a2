#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "engine/engine.h"
#include "engine/generated_texts.h"

namespace spnl::mistralrs {

/// One caller's requests to a model. Not thread-safe itself, but for cancel(); sessions of one
/// model may be used from different threads.
class Session {
 public:
  /// Hears of events in order, inside step() and close(); nonzero: cancel this request.
  using Listener = std::function<int32_t(const Event&)>;
  using Note = std::function<void(const std::string&)>;

  /// `model` must have a runtime and outlive the session.
  Session(Model& model, Listener listener, Note note);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Queues a request, id given here. Throws modelkit::Error(kInvalid) when its prompt is empty,
  /// holds an id outside the vocabulary, or can never fit the context or the cache. False: the
  /// queue is full.
  bool submit(Request request, uint64_t& id);
  /// Delivers what has happened to its requests, after a step when nothing has. Answers alive().
  uint32_t step();
  /// Any thread. Takes effect when the next step begins.
  void cancel(uint64_t id);
  /// Finishes everything now, as cancelled; events as in step. Nothing may be submitted after it.
  void close();
  /// Samples whose end was not delivered yet.
  uint32_t alive() const { return static_cast<uint32_t>(alive_); }

 private:
  void check(const Request& request) const;
  void deliver(const std::vector<Event>& events);
  void note_full_context(const Sequence& sequence) const;

  Model& model_;
  Engine& engine_;
  const Listener listener_;
  const Note note_;
  Mailbox mailbox_;
  GeneratedTexts generated_;
  size_t alive_ = 0;
  bool closed_ = false;
};

}  // namespace spnl::mistralrs
