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
/// all it starts, and arrive on a thread of this object only.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  void graceful() { graceful_ = true; }
  std::stop_token token() const;

  /// A fresh token for the next piece of work; a Ctrl-C that stopped the one before is forgotten. A
  /// SIGTERM is not: the fresh token is stopped already.
  std::stop_token renew();

  /// Stops the work for another reason than a signal: nobody reads the output, or a time limit. The
  /// stop is requested on the signal thread, so that a caller inside a callback of the work runs
  /// none of its stop callbacks.
  void stop();

  bool signalled() const { return signalled_; }    ///< by either signal since renew()
  bool terminated() const { return terminated_; }  ///< by SIGTERM

  /// For poll(): readable from the moment a stop is requested until renew().
  int descriptor() const { return stopped_; }

 private:
  void watch();
  void take_signal(int number);
  void request_stop();

  mutable std::mutex mutex_;  ///< of source_
  std::stop_source source_;
  std::atomic<bool> graceful_{false}, signalled_{false}, terminated_{false}, closing_{false};
  int signals_ = -1;  ///< a signalfd
  int wake_ = -1;     ///< an eventfd: stop() was called, or the end has come
  int stopped_ = -1;  ///< an eventfd
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
