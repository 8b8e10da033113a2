#include "thread_pool.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <system_error>

namespace spnl::cpu_ref {

ThreadPool::ThreadPool(uint32_t threads) {
  try {
    for (uint32_t i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  } catch (const std::system_error&) {
    // Fewer threads than wished for: slower, but right.
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(uint64_t n, uint64_t grain,
                     const std::function<void(uint64_t, uint64_t)>& body) {
  const uint64_t useful = std::max<uint64_t>(1, n / std::max<uint64_t>(1, grain));
  const auto shares = static_cast<uint32_t>(std::min<uint64_t>(useful, workers_.size() + 1));
  if (shares == 1) {
    if (n > 0) body(0, n);
    return;
  }
  const std::lock_guard caller(callers_);
  {
    const std::lock_guard lock(mutex_);
    body_ = &body;
    n_ = n;
    shares_ = shares;
    unfinished_ = shares - 1;
    failure_ = nullptr;
    ++job_;
  }
  wake_.notify_all();
  do_share(0);
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return unfinished_ == 0; });
  if (failure_) std::rethrow_exception(failure_);
}

void ThreadPool::do_share(uint32_t share) noexcept {
  const uint64_t begin = n_ / shares_ * share + std::min<uint64_t>(share, n_ % shares_);
  const uint64_t end = n_ / shares_ * (share + 1) + std::min<uint64_t>(share + 1, n_ % shares_);
  try {
    if (begin < end) (*body_)(begin, end);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

void ThreadPool::work(uint32_t worker) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);  // signals belong to the host's threads
#ifdef __linux__
  pthread_setname_np(pthread_self(), "spnl-cpu_ref");
#endif
  uint64_t seen = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return closing_ || job_ != seen; });
    if (closing_) return;
    seen = job_;
    if (worker >= shares_) continue;
    lock.unlock();
    do_share(worker);
    lock.lock();
    if (--unfinished_ == 0) done_.notify_one();
  }
}

}  // namespace spnl::cpu_ref
