#include "interrupt.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>

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

int opened(int descriptor) {
  if (descriptor < 0) throw std::system_error(errno, std::generic_category(), "signals");
  return descriptor;
}

}  // namespace

Interrupt::Interrupt() {
  sigset_t set = watched_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);  // a reader that went away is an error of write(), handled there
  signals_ = opened(signalfd(-1, &set, SFD_CLOEXEC));
  wake_ = opened(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  stopped_ = opened(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  thread_ = std::thread([this] { watch(); });
}

Interrupt::~Interrupt() {
  closing_ = true;
  eventfd_write(wake_, 1);
  thread_.join();
  for (int descriptor : {signals_, wake_, stopped_}) ::close(descriptor);
}

std::stop_token Interrupt::token() const {
  std::lock_guard lock(mutex_);
  return source_.get_token();
}

std::stop_token Interrupt::renew() {
  std::lock_guard lock(mutex_);
  source_ = {};
  if (terminated_) {
    source_.request_stop();
  } else {
    eventfd_t ignored;
    eventfd_read(stopped_, &ignored);
    signalled_ = false;
  }
  return source_.get_token();
}

void Interrupt::stop() { eventfd_write(wake_, 1); }

void Interrupt::request_stop() {
  std::unique_lock lock(mutex_);
  std::stop_source source = source_;
  eventfd_write(stopped_, 1);
  lock.unlock();  // the stop's callbacks run in here and may ask for the token
  source.request_stop();
}

void Interrupt::take_signal(int number) {
  if (!graceful_ || signalled_) std::_Exit(kInterruptedExit);
  signalled_ = true;
  if (number == SIGTERM) terminated_ = true;
  request_stop();
}

void Interrupt::watch() {
  for (;;) {
    pollfd ready[2] = {{signals_, POLLIN, 0}, {wake_, POLLIN, 0}};
    if (::poll(ready, 2, -1) < 0) continue;
    signalfd_siginfo info;
    if (ready[0].revents != 0 && ::read(signals_, &info, sizeof info) == sizeof info)
      take_signal(static_cast<int>(info.ssi_signo));
    if (closing_) return;
    eventfd_t ignored;
    if (ready[1].revents != 0 && eventfd_read(wake_, &ignored) == 0) request_stop();
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
