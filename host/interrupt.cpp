#include "interrupt.h"

#include <pthread.h>
#include <signal.h>

#include <cstdlib>

namespace spnl::host {
namespace {

constexpr int kInterruptedExit = 130;

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

Interrupt::Interrupt() {
  sigset_t set = watched_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);  // a reader that went away is an error of write(), handled there
  thread_ = std::thread([this] { wait_for_signals(); });
}

Interrupt::~Interrupt() {
  closing_ = true;
  pthread_kill(thread_.native_handle(), SIGTERM);
  thread_.join();
}

void Interrupt::stop() {
  asked_ = true;
  pthread_kill(thread_.native_handle(), SIGTERM);
}

void Interrupt::wait_for_signals() {
  sigset_t set = watched_signals();
  for (;;) {
    int number = 0;
    if (sigwait(&set, &number) != 0) continue;
    if (closing_) return;
    if (asked_.exchange(false)) {
      source_.request_stop();
      continue;
    }
    if (!graceful_ || signalled_) std::_Exit(kInterruptedExit);
    signalled_ = true;
    source_.request_stop();
  }
}

TimeLimit::TimeLimit(Interrupt& interrupt, std::chrono::duration<double> limit)
    : thread_([this, &interrupt, limit](std::stop_token ended) {
        std::unique_lock lock(mutex_);
        wake_.wait_for(lock, ended, limit, [] { return false; });
        if (ended.stop_requested()) return;
        reached_ = true;
        interrupt.stop();
      }) {}

}  // namespace spnl::host
