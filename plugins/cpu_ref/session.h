#pragma once
#include <chrono>
#include <list>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "model.h"
#include "request.h"
#include "spnl/backend.h"
#include "spnl/modelkit/sampler.h"
#include "spnl/modelkit/status.h"
#include "spnl/modelkit/stop_strings.h"
#include "spnl/modelkit/utf8_stream.h"

namespace spnl::cpu_ref {

/// Generation for one session of the ABI: sequences wait here between steps. Not thread-safe but
/// for cancel().
class Session {
 public:
  /// `note`: tells the user something that is no error. The model must outlive the session.
  Session(const Model& model, const spnl_events& events,
          std::function<void(std::string_view)> note);
  ~Session();

  const Model& model() const { return model_; }
  uint64_t submit(Request request);  ///< the sequence's number, from 1; throws
                                     ///< abi::Failure(SPNL_BUSY) when full
  /// Engine steps for about budget_ns, at least one. In a step each live sequence gets a piece of
  /// its prompt evaluated, or one token for each sample. Answers the number of live sequences.
  uint32_t step(uint64_t budget_ns);
  spnl_status cancel(uint64_t sequence);  ///< any thread
  void finish_all();                      ///< FINISH(CANCELLED) for what is alive

 private:
  using Clock = std::chrono::steady_clock;
  struct Sample;
  struct Sequence;

  void engine_step();
  void advance(Sequence& sequence);
  void prefill(Sequence& sequence);
  void decode(Sequence& sequence, Sample& sample);
  void choose(Sequence& sequence, Sample& sample, std::span<const float> logits);
  void emit(Sequence& sequence, Sample& sample, int32_t token, std::span<const float> logits);
  void finish(Sequence& sequence, Sample& sample, int32_t reason,
              const spnl_error* error = nullptr);
  void finish_samples(Sequence& sequence, int32_t reason, const spnl_error* error = nullptr);
  void send(const Sequence& sequence, const spnl_event& event);
  void count();

  const Model& model_;
  const spnl_events events_;
  const std::function<void(std::string_view)> note_;
  std::list<Sequence> sequences_;
  uint32_t counted_running_ = 0, counted_waiting_ = 0;
  uint64_t counted_bytes_ = 0;

  std::mutex mutex_;  // for the two below, which cancel() touches
  uint64_t next_sequence_ = 1;
  std::set<uint64_t> cancelled_;
};

using modelkit::status_of;

}  // namespace spnl::cpu_ref
