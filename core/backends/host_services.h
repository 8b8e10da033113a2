#pragma once
#include <atomic>
#include <string>

#include "backends/operations.h"
#include "backends/search_path.h"
#include "spnl/backend.h"
#include "spnl/backends.h"

namespace spnl::backends {

/// What every plugin shares of the host. `options` and `operations` outlive it.
struct HostContext {
  const BackendsOptions& options;
  Operations& operations;
  Environment environment;
};

/// The table that one plugin is given at open(): its address must hold until close() returned.
/// Every function may be called from any thread and none throws.
class HostServices {
 public:
  HostServices(HostContext context, std::string backend_id);
  HostServices(const HostServices&) = delete;
  HostServices& operator=(const HostServices&) = delete;

  const spnl_host* table() const noexcept { return &table_; }
  uint64_t allocated_bytes() const noexcept { return allocated_.load(std::memory_order_relaxed); }

  /// A setting: what was set by flag, else, for names that begin with SPNL_, MISTRALRS_ or HF_ (and
  /// HOME), the environment.
  std::optional<std::string> setting(const std::string& key) const;

 private:
  struct Calls;
  void log(int32_t level, std::string_view component, std::string_view text) const;
  spnl_status resolve(uint64_t op, std::string_view model, std::string_view glob,
                      const spnl_file_sink& files, spnl_error* error) const;
  void* allocate(uint64_t bytes, uint64_t align);
  void release(void* pointer);

  HostContext context_;
  std::string backend_id_;
  std::atomic<uint64_t> allocated_ = 0;
  spnl_host table_{};
};

}  // namespace spnl::backends
