#include "ops/cpu/thread_team.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace spnl::mistralrs::cpu {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::microseconds kSpin{100};  ///< a decode step hands out an op every ~10 us
constexpr int kPausesPerLook = 32;               ///< looking at the clock costs about as much

void cpu_pause() {
#if defined(SPNL_CPU_X86)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

struct ThreadTeam::Impl {
  explicit Impl(int count) : threads(count) {
    // Spinning while the other side needs this very core only delays it.
    const unsigned cores = std::thread::hardware_concurrency();
    spin = cores == 0 || cores >= static_cast<unsigned>(count);
    workers.reserve(static_cast<size_t>(count - 1));
    try {
      for (int i = 1; i < count; ++i) workers.emplace_back([this, i] { work(i); });
    } catch (...) {
      stop();
      throw;
    }
  }
  ~Impl() { stop(); }

  void stop() {
    stopping.store(true, std::memory_order_relaxed);
    announce();
    for (std::thread& worker : workers) worker.join();
    workers.clear();
  }

  /// Starts a new epoch. Both sides use sequentially consistent order, so either the worker sees
  /// the epoch before it sleeps or this sees that the worker is parked.
  void announce() {
    epoch.fetch_add(1, std::memory_order_seq_cst);
    if (parked.load(std::memory_order_seq_cst) == 0) return;
    { std::lock_guard lock(mutex); }
    wake.notify_all();
  }

  void run(void (*call)(const void*, int), const void* task) {
    task_call = call;
    task_data = task;
    announce();
    do_part(0);
    all_finished += static_cast<uint32_t>(threads - 1);
    wait_until([this] { return finished.load(std::memory_order_acquire) == all_finished; });
    if (failed.load(std::memory_order_relaxed)) rethrow();
  }

  void do_part(int worker) noexcept {
    try {
      task_call(task_data, worker);
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
      failed.store(true, std::memory_order_relaxed);
    }
  }

  [[noreturn]] void rethrow() {
    failed.store(false, std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(failure, nullptr));
  }

  /// Spins for kSpin, returns whether `done` came true.
  template <class Done>
  bool spin_until(const Done& done) const {
    if (done()) return true;
    if (!spin) return false;
    const Clock::time_point end = Clock::now() + kSpin;
    do {
      for (int i = 0; i < kPausesPerLook; ++i) {
        if (done()) return true;
        cpu_pause();
      }
    } while (Clock::now() < end);
    return done();
  }

  /// The caller never sleeps: workers are at most one chunk behind, unless the system took their
  /// core.
  template <class Done>
  void wait_until(const Done& done) const {
    if (spin_until(done)) return;
    while (!done()) std::this_thread::yield();
  }

  void work(int index) {
    uint32_t seen = 0;
    for (;;) {
      const auto changed = [&] { return epoch.load(std::memory_order_acquire) != seen; };
      if (!spin_until(changed)) park(seen);
      seen = epoch.load(std::memory_order_acquire);
      if (stopping.load(std::memory_order_relaxed)) return;
      do_part(index);
      finished.fetch_add(1, std::memory_order_release);
    }
  }

  void park(uint32_t seen) {
    std::unique_lock lock(mutex);
    parked.fetch_add(1, std::memory_order_seq_cst);
    wake.wait(lock, [&] { return epoch.load(std::memory_order_seq_cst) != seen; });
    parked.fetch_sub(1, std::memory_order_seq_cst);
  }

  const int threads;
  bool spin = true;
  std::vector<std::thread> workers;
  std::atomic<bool> stopping{false};
  std::mutex mutex;
  std::condition_variable wake;
  std::exception_ptr failure;  // of the running task; `failed` says that there is one
  std::atomic<bool> failed{false};
  uint32_t all_finished = 0;  // what `finished` becomes with the running task
  // Lines of the cache, each written by one side: what workers wait for comes with their task, and
  // a run moves no other line than these two.
  alignas(64) std::atomic<uint32_t> epoch{0};
  void (*task_call)(const void*, int) = nullptr;
  const void* task_data = nullptr;
  alignas(64) std::atomic<uint32_t> finished{0};  // parts done by workers, ever; wraps
  alignas(64) std::atomic<int> parked{0};
};

ThreadTeam::ThreadTeam(int threads) : impl_(std::make_unique<Impl>(threads < 1 ? 1 : threads)) {}
ThreadTeam::~ThreadTeam() = default;

int ThreadTeam::size() const noexcept { return impl_->threads; }

void ThreadTeam::run_erased(void (*call)(const void*, int), const void* task) {
  if (impl_->threads == 1) {
    call(task, 0);
    return;
  }
  impl_->run(call, task);
}

}  // namespace spnl::mistralrs::cpu
