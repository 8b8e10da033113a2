#pragma once
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace spnl::cpu_ref {

/// A fixed team of threads for loops whose turns do not depend on each other. Any thread may call
/// run(); calls from several threads take turns. Workers block all signals and are joined by the
/// destructor.
class ThreadPool {
 public:
  explicit ThreadPool(uint32_t threads);  ///< the caller of run() counts as one of them
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// Calls body(begin, end) for ranges that cover [0, n), at least `grain` turns each, and returns
  /// when all are done. What a body throws comes out of run(), the first one.
  void run(uint64_t n, uint64_t grain, const std::function<void(uint64_t, uint64_t)>& body);

 private:
  void work(uint32_t worker);
  void do_share(uint32_t share) noexcept;

  std::mutex callers_;  // one job at a time
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> workers_;
  const std::function<void(uint64_t, uint64_t)>* body_ = nullptr;
  uint64_t n_ = 0, job_ = 0;
  uint32_t shares_ = 0, unfinished_ = 0;
  std::exception_ptr failure_;
  bool closing_ = false;
};

}  // namespace spnl::cpu_ref
