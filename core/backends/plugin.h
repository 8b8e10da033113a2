#pragma once
#include <map>
#include <memory>
#include <string>

#include "backends/host_services.h"
#include "backends/loaded_model.h"
#include "backends/manifest.h"
#include "spnl/backend.h"

namespace spnl::backends {

/// An opened backend. Made, used and closed on the loader thread alone (the ABI's [setup]).
class Plugin {
 public:
  /// Opens library and instance. Throws Error(kNotLoadable).
  Plugin(const Manifest& manifest, HostContext context);
  ~Plugin();  ///< closes the instance; every model must be unloaded by then
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;

  /// `model`: without the prefix. Throws Error: kNotFound, kInterrupted, kNotLoadable.
  PluginModel load(const std::string& model, const std::string& full_name,
                   const LoadOptions& options, Operation& operation);

 private:
  [[noreturn]] void fail_load(spnl_status status, const spnl_error& error,
                              const std::string& full_name, Operation& operation) const;

  std::string id_;
  const spnl_backend* table_;
  HostServices host_;
  spnl_instance* instance_ = nullptr;
  const spnl_score_v1* score_ = nullptr;
  const BackendsOptions& options_;
};

}  // namespace spnl::backends
