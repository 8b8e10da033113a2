#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "spnl/error.h"

namespace spnl::backends {

/// One long piece of work that a plugin does for us, named by number over the ABI. Any thread.
struct Operation {
  uint64_t number = 0;
  std::atomic<bool> cancelled = false;
  std::mutex mutex;
  std::optional<Error>
      resolve_error;  ///< the last failure to find files: says more than what crosses the ABI
};

/// The operations under way. Any thread.
class Operations {
 public:
  std::shared_ptr<Operation> begin() {
    auto operation = std::make_shared<Operation>();
    const std::lock_guard lock(mutex_);
    operation->number = next_++;
    all_[operation->number] = operation;
    return operation;
  }

  void end(const Operation& operation) {
    const std::lock_guard lock(mutex_);
    all_.erase(operation.number);
  }

  std::shared_ptr<Operation> find(uint64_t number) {
    const std::lock_guard lock(mutex_);
    const auto found = all_.find(number);
    return found == all_.end() ? nullptr : found->second;
  }

  void cancel_all() {
    const std::lock_guard lock(mutex_);
    for (auto& [number, operation] : all_) operation->cancelled = true;
  }

 private:
  std::mutex mutex_;
  uint64_t next_ = 1;  // 0: no operation
  std::unordered_map<uint64_t, std::shared_ptr<Operation>> all_;
};

}  // namespace spnl::backends
