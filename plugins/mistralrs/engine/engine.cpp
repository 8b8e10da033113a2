#include "engine/engine.h"

#include <algorithm>
#include <atomic>

namespace spnl::mistralrs {
namespace {

/// A session that has not called for so many steps is paused: what it has not heard stays bounded,
/// and its sequences' blocks are there for others.
constexpr uint32_t kMaxUnheardSteps = 64;

/// Of all models that this process has had: one that is loaded again does not take a quote of what
/// it wrote before for one of what it writes now.
std::atomic<uint64_t> g_next_request{1};

}  // namespace

Engine::Turn::Turn(Engine& engine, const Mailbox* mailbox) : engine_(engine) {
  std::unique_lock lock(engine_.mutex_);
  const uint64_t ticket = engine_.next_ticket_++;
  engine_.line_.push_back(ticket);
  const auto has_mail = [&] { return mailbox != nullptr && !mailbox->events.empty(); };
  engine_.turn_over_.wait(lock, [&] {
    return has_mail() || (!engine_.turn_taken_ && engine_.line_.front() == ticket);
  });
  std::erase(engine_.line_, ticket);
  mine_ = !has_mail();
  if (mine_)
    engine_.turn_taken_ = true;
  else
    engine_.turn_over_.notify_all();  // another may be the first in line now
}

Engine::Turn::~Turn() {
  if (!mine_) return;
  const std::lock_guard lock(engine_.mutex_);
  engine_.turn_taken_ = false;
  engine_.turn_over_.notify_all();
}

Engine::Engine(Model& model) : runtime_(*model.runtime()), loop_(model) {}

void Engine::join(Mailbox& mailbox) {
  const std::lock_guard lock(mutex_);
  mailboxes_.push_back(&mailbox);
}

uint64_t Engine::next_request_id() { return g_next_request++; }

void Engine::submit(std::vector<std::shared_ptr<Sequence>> samples) {
  const std::lock_guard lock(mutex_);
  const size_t count = samples.size();
  submitted_.push_back(std::move(samples));
  live_ += count;
  publish();
}

void Engine::cancel(const Mailbox& mailbox, uint64_t request) {
  const std::lock_guard lock(mutex_);
  cancelled_.emplace_back(&mailbox, request);
}

std::vector<Event> Engine::step(Mailbox& mailbox) {
  {
    const std::lock_guard lock(mutex_);
    mailbox.unheard_steps = 0;
  }
  const Turn turn(*this, &mailbox);
  if (turn.mine_) {
    begin_step();
    loop_.step();
    end_step();
  }
  return take(mailbox);
}

std::vector<Event> Engine::leave(Mailbox& mailbox) {
  const Turn turn(*this);
  begin_step();
  loop_.cancel_all(mailbox);
  end_step();
  {
    const std::lock_guard lock(mutex_);
    std::erase(mailboxes_, &mailbox);
  }
  return take(mailbox);
}

/// Brings the step loop up to date with what the sessions asked for.
void Engine::begin_step() {
  const std::lock_guard lock(mutex_);
  for (auto& samples : submitted_) loop_.add(std::move(samples));
  submitted_.clear();
  for (const auto& [mailbox, request] : cancelled_) loop_.cancel(*mailbox, request);
  cancelled_.clear();
  for (Mailbox* mailbox : mailboxes_) mailbox->paused = mailbox->unheard_steps >= kMaxUnheardSteps;
}

/// Hands out what happened.
void Engine::end_step() {
  const std::lock_guard lock(mutex_);
  for (Event& event : loop_.take_events()) {
    if (event.finished) --live_;
    Mailbox& mailbox = *event.sequence->owner;
    mailbox.events.push_back(std::move(event));
  }
  for (Mailbox* mailbox : mailboxes_) ++mailbox->unheard_steps;
  running_ = loop_.running();
  cache_bytes_ = runtime_.pool->used_bytes();
  publish();
}

std::vector<Event> Engine::take(Mailbox& mailbox) {
  const std::lock_guard lock(mutex_);
  return std::exchange(mailbox.events, {});
}

/// Keeps the counters true between steps as well.
void Engine::publish() {
  const std::lock_guard lock(runtime_.counters.mutex);
  runtime_.counters.running = static_cast<uint32_t>(running_);
  runtime_.counters.waiting = static_cast<uint32_t>(live_ - running_);
  runtime_.counters.cache_bytes = cache_bytes_;
}

}  // namespace spnl::mistralrs
