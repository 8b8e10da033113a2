#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>

namespace spnl::host {

/// Ctrl-C (and SIGTERM). Until graceful() is called a signal ends the process at once with 130:
/// nothing worth saving runs. After it the first signal requests a stop, the second ends the
/// process. Make it before any other thread: the signals are blocked in the making thread and so in
/// all it starts.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  void graceful() { graceful_ = true; }
  std::stop_token token() const { return source_.get_token(); }
  /// Stops the work for another reason than a signal: nobody reads the output, or a time limit. The
  /// stop is requested on the signal thread, so that a caller inside a callback of the work runs
  /// none of its stop callbacks.
  void stop();
  bool signalled() const { return signalled_; }

 private:
  void wait_for_signals();

  std::stop_source source_;
  std::atomic<bool> graceful_{false}, signalled_{false}, closing_{false}, asked_{false};
  std::thread thread_;
};

/// Stops an Interrupt's work after a time, unless it is destroyed before.
class TimeLimit {
 public:
  TimeLimit(Interrupt& interrupt, std::chrono::duration<double> limit);
  bool reached() const { return reached_; }

 private:
  std::atomic<bool> reached_{false};
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  ///< last: it uses what stands above and is joined first
};

}  // namespace spnl::host
