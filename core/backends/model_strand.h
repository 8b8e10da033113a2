#pragma once
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <functional>
#include <mutex>

namespace spnl::backends {

/// Is the calling thread one of ours? Such a thread must not wait for others of ours.
enum class ThreadKind { kOutside, kPool, kLoader };
ThreadKind thread_kind() noexcept;

/// Runs `job` on a thread that from then on counts as one of that kind. What it throws is dropped:
/// a job handles its own.
void run_as(ThreadKind kind, const std::function<void()>& job) noexcept;

/// The strand of one model: its jobs run one at a time and in order, on the pool. The pool must
/// outlive it.
class ModelStrand {
 public:
  explicit ModelStrand(boost::asio::thread_pool& pool)
      : strand_(pool.get_executor()), timer_(pool) {}

  /// Any thread. False, and nothing is posted, once close() was called.
  bool post(std::function<void()> job);
  /// Any thread. Posts the last job; false when that was done before.
  bool close(std::function<void()> last);

  bool running_here() const { return strand_.running_in_this_thread(); }

  /// From the strand only: continuations of its own jobs, also while closing.
  void post_next(std::function<void()> job);
  void post_after(std::chrono::milliseconds delay, std::function<void()> job);
  void cancel_timer() { timer_.cancel(); }

 private:
  boost::asio::strand<boost::asio::thread_pool::executor_type> strand_;
  boost::asio::steady_timer timer_;
  std::mutex mutex_;
  bool closed_ = false;
};

}  // namespace spnl::backends
