#pragma once
#include <functional>
#include <memory>

namespace spnl::mistralrs::cpu {

/// A fixed set of threads that runs one function at a time on all of them. Workers spin briefly for
/// the next function and then park, so that an op costs well under a microsecond to hand out and an
/// idle team costs nothing. The calling thread is worker 0. One caller at a time; threads are
/// joined by the destructor.
class ThreadTeam {
 public:
  explicit ThreadTeam(int threads);  ///< >= 1; 1 starts no thread
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const noexcept;
  /// Runs task(worker) for worker 0..size()-1 and returns when all have. What a worker throws is
  /// thrown again here, once all are done; of several, one. Workers must not wait for each other.
  template <class Task>
  void run(const Task& task) {
    run_erased([](const void* t, int worker) { (*static_cast<const Task*>(t))(worker); }, &task);
  }

 private:
  void run_erased(void (*call)(const void*, int), const void* task);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spnl::mistralrs::cpu
