#include "backends/model_strand.h"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>
#include <utility>

namespace spnl::backends {

namespace {

thread_local ThreadKind current_kind = ThreadKind::kOutside;

auto pool_job(std::function<void()> job) {
  return [job = std::move(job)] { run_as(ThreadKind::kPool, job); };
}

}  // namespace

ThreadKind thread_kind() noexcept { return current_kind; }

void run_as(ThreadKind kind, const std::function<void()>& job) noexcept {
  current_kind = kind;  // stays: such a thread does nothing else
  try {
    job();
  } catch (...) {
    // A pool's thread has nobody to tell.
  }
}

bool ModelStrand::post(std::function<void()> job) {
  // Under the lock, so that nothing comes after the last job.
  const std::lock_guard lock(mutex_);
  if (closed_) return false;
  boost::asio::post(strand_, pool_job(std::move(job)));
  return true;
}

bool ModelStrand::close(std::function<void()> last) {
  const std::lock_guard lock(mutex_);
  if (closed_) return false;
  closed_ = true;
  boost::asio::post(strand_, pool_job(std::move(last)));
  return true;
}

void ModelStrand::post_next(std::function<void()> job) {
  boost::asio::post(strand_, pool_job(std::move(job)));
}

void ModelStrand::post_after(std::chrono::milliseconds delay, std::function<void()> job) {
  timer_.expires_after(delay);
  timer_.async_wait(boost::asio::bind_executor(
      strand_, [run = pool_job(std::move(job))](const boost::system::error_code&) { run(); }));
}

}  // namespace spnl::backends
