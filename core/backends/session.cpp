#include "backends/session.h"

#include <algorithm>
#include <chrono>

#include "backends/abi_check.h"
#include "spnl/error.h"

namespace spnl::backends {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr uint32_t kMaxSamples = 1u << 20;
/// One engine step while tokens come, so that they are shown at once; when nothing comes, longer,
/// so that a plugin that waits for a network may sleep inside step() instead of being called in a
/// busy loop.
constexpr uint64_t kQuietBudgetNs = 5'000'000;
/// Steps that return this fast, this often, without an event are taken for a plugin that does not
/// wait by itself.
constexpr std::chrono::microseconds kFastStep{100};
constexpr unsigned kMaxFastSteps = 32;
constexpr milliseconds kRest{1};
/// A plugin that is busy with nothing to do gets about two seconds to change its mind.
constexpr milliseconds kBusyRest{5};
constexpr unsigned kMaxStuck = 400;

/// Marks the calling thread as the one that events may come from.
class Inside {
 public:
  explicit Inside(std::atomic<std::thread::id>& where) : where_(where) {
    where_ = std::this_thread::get_id();
  }
  ~Inside() { where_ = std::thread::id(); }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  std::atomic<std::thread::id>& where_;
};

}  // namespace

Session::Session(const spnl_backend& table, spnl_model* model, bool spans, ModelStrand& strand,
                 Log log)
    : table_(table), model_(model), spans_(spans), strand_(strand), log_(std::move(log)) {}

uint64_t Session::generate(GenerateRequest request, GenerateHandlers handlers) {
  if (request.samples > kMaxSamples)
    throw Error(ErrorCode::kUsage, "more than a million samples of one request");
  uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    id = next_id_++;
    states_[id];
  }
  auto generation = std::make_shared<Generation>(id, std::move(request), std::move(handlers));
  const bool posted = strand_.post([self = shared_from_this(), generation] {
    self->waiting_.push_back(generation);
    self->schedule();
  });
  if (posted) return id;
  const std::lock_guard lock(mutex_);
  states_.erase(id);
  throw Error(ErrorCode::kEvaluation, "the model was closed");
}

void Session::cancel(uint64_t generation) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = states_.find(generation);
    if (found == states_.end() || found->second.cancelled) return;
    found->second.cancelled = true;
    cancel_seen_ = true;
    // At once, not behind a long step. The lock keeps the session open meanwhile.
    if (found->second.submitted && session_ != nullptr)
      table_.cancel(session_, found->second.sequence);
  }
  strand_.post([self = shared_from_this()] { self->schedule(); });
}

bool Session::idle() {
  const std::lock_guard lock(mutex_);
  return states_.empty();
}

bool Session::is_cancelled(uint64_t generation) {
  const std::lock_guard lock(mutex_);
  const auto found = states_.find(generation);
  return found != states_.end() && found->second.cancelled;
}

void Session::schedule() {
  if (scheduled_ || closed_) return;
  scheduled_ = true;
  strand_.post_next([self = shared_from_this()] { self->pump(); });
}

void Session::pump() {
  scheduled_ = false;
  if (closed_) return;
  try {
    const bool busy = submit_waiting();
    if (!running_.empty() || busy) step();
    if (busy && running_.empty()) give_up_when_stuck();
  } catch (const std::exception& e) {
    fail_session(e.what());
  }
  if (closed_ || scheduled_ || (running_.empty() && waiting_.empty())) return;
  const bool stuck = running_.empty() && stuck_ > 0,
             resting = fast_step_ && quiet_steps_ > kMaxFastSteps;
  if (!stuck && !resting) return schedule();
  scheduled_ = true;
  strand_.post_after(stuck ? kBusyRest : kRest, [self = shared_from_this()] { self->pump(); });
}

void Session::drop_cancelled() {
  if (!cancel_seen_.exchange(false)) return;
  std::deque<Entry> kept, dropped;
  for (Entry& entry : waiting_)
    (is_cancelled(entry->id) ? dropped : kept).push_back(std::move(entry));
  waiting_ = std::move(kept);
  for (const Entry& entry : dropped) {
    entry->finish_rest(FinishReason::kCancelled, "");
    complete(entry);
  }
}

/// Hands over what waits, in order; true: the plugin is busy.
bool Session::submit_waiting() {
  drop_cancelled();
  while (!waiting_.empty()) {
    const Entry generation = waiting_.front();
    std::string problem;
    const bool cancelled = is_cancelled(generation->id);
    const spnl_status status = cancelled ? SPNL_CANCELLED : submit(generation, problem);
    if (status == SPNL_BUSY) return true;
    waiting_.pop_front();
    stuck_ = 0;
    if (status == SPNL_OK) continue;
    generation->finish_rest(cancelled ? FinishReason::kCancelled : FinishReason::kError, problem);
    complete(generation);
  }
  return false;
}

spnl_status Session::submit(const Entry& generation, std::string& problem) {
  if (session_ == nullptr)
    if (const spnl_status status = open_session(problem); status != SPNL_OK)
      return status == SPNL_BUSY ? SPNL_INTERNAL : status;
  uint64_t sequence = 0;
  spnl_error error = empty_error();
  spnl_status status = SPNL_INTERNAL;
  try {
    const RequestWire request(generation->request(), generation->id, spans_);
    if (table_.descriptor->minor_built == 0 && request.sampling.set >= SPNL_SET_TYPICAL_P) {
      problem = "the backend is older than a sampling option of this request";
      return SPNL_UNSUPPORTED;
    }
    // Before the call: should an event come early, it finds its generation.
    running_[generation->id] = generation;
    status = table_.submit(session_, &request.wire, &sequence, &error);
  } catch (const std::exception& e) {
    problem = e.what();
    running_.erase(generation->id);
    return SPNL_INTERNAL;
  }
  if (status != SPNL_OK) {
    running_.erase(generation->id);
    problem = failure_text(status, error);
    return status;
  }
  const std::lock_guard lock(mutex_);
  State& state = states_[generation->id];
  state.submitted = true;
  state.sequence = sequence;
  if (state.cancelled) table_.cancel(session_, sequence);
  return SPNL_OK;
}

spnl_status Session::open_session(std::string& problem) {
  spnl_events events{};
  events.struct_size = sizeof events;
  events.user = this;
  events.event = on_event;
  spnl_session* opened = nullptr;
  spnl_error error = empty_error();
  spnl_status status = table_.session_open(model_, &events, &opened, &error);
  if (status == SPNL_OK && opened == nullptr) status = SPNL_INTERNAL;
  if (status != SPNL_OK) {
    problem = "the backend opened no session: " + failure_text(status, error);
    return status;
  }
  const std::lock_guard lock(mutex_);
  session_ = opened;
  return SPNL_OK;
}

void Session::give_up_when_stuck() {
  if (waiting_.empty() || ++stuck_ < kMaxStuck) return;
  stuck_ = 0;
  const Entry generation = waiting_.front();
  waiting_.pop_front();
  generation->finish_rest(FinishReason::kError, "the backend stays busy although nothing runs");
  complete(generation);
}

void Session::step() {
  uint32_t alive = 0;
  spnl_error error = empty_error();
  spnl_status status = SPNL_OK;
  const auto start = Clock::now();
  {
    const Inside inside(inside_);
    status = table_.step(session_, quiet_steps_ > 0 ? kQuietBudgetNs : 0, &alive, &error);
  }
  fast_step_ = Clock::now() - start < kFastStep;
  quiet_steps_ = events_.empty() ? quiet_steps_ + 1 : 0;
  deliver();
  if (status != SPNL_OK) {
    fail_session("the backend failed: " + failure_text(status, error));
  } else if (alive == 0 && !running_.empty()) {
    end_all(running_, FinishReason::kError, "the backend dropped the request without a finish");
  }
}

int32_t Session::on_event(void* user, const spnl_event* event) noexcept {
  auto& self = *static_cast<Session*>(user);
  if (self.inside_.load() != std::this_thread::get_id()) {
    // The contract forbids it, and the strand's data may not be touched here.
    self.foreign_event_ = true;
    return 0;
  }
  try {
    if (event == nullptr) return 0;
    if (auto copy = EventCopy::from(*event)) self.events_.push_back(std::move(*copy));
    return 0;
  } catch (...) {
    return 1;  // no memory for it: stop the sequence
  }
}

void Session::deliver() {
  if (foreign_event_.exchange(false))
    log_(LogLevel::kWarning, "the backend sent events outside of step(); they were ignored");
  std::vector<EventCopy> events = std::exchange(events_, {});
  for (EventCopy& event : events) {
    const auto found = running_.find(event.user_id);
    if (found == running_.end()) continue;
    const Entry generation = found->second;
    std::string problem;
    if (!generation->apply(std::move(event), problem)) {
      log_(LogLevel::kError, "a handler of tokens threw: " + problem);
      cancel(generation->id);
    }
    if (generation->finished()) complete(generation);
  }
}

/// After a failed step nothing is known about the plugin's session: all in it fail, the next
/// generation gets a new one.
void Session::fail_session(const std::string& reason) {
  log_(LogLevel::kError, reason);
  for (const auto& [id, generation] : running_) generation->fail_with(reason);
  close_session();
  end_all(running_, FinishReason::kError, reason);
}

void Session::close_session() {
  spnl_session* closing = nullptr;
  {
    const std::lock_guard lock(mutex_);
    closing = std::exchange(session_, nullptr);
  }
  if (closing == nullptr) return;
  {
    const Inside inside(inside_);
    table_.session_close(closing);
  }
  deliver();
}

void Session::end_all(std::unordered_map<uint64_t, Entry> generations, FinishReason reason,
                      const std::string& error) {
  for (const auto& [id, generation] : generations) {
    generation->finish_rest(reason, error);
    complete(generation);
  }
}

void Session::complete(const Entry& generation) {
  running_.erase(generation->id);
  {
    const std::lock_guard lock(mutex_);
    states_.erase(generation->id);
  }
  std::string problem;
  if (!generation->report(problem))
    log_(LogLevel::kError, "a handler of results threw: " + problem);
}

void Session::close() {
  closed_ = true;
  strand_.cancel_timer();
  for (const Entry& generation : std::exchange(waiting_, {})) {
    generation->finish_rest(FinishReason::kCancelled, "");
    complete(generation);
  }
  close_session();
  end_all(running_, FinishReason::kCancelled, "");
}

}  // namespace spnl::backends
