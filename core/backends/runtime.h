#pragma once
#include <boost/asio/thread_pool.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backends/loaded_model.h"
#include "backends/manifest.h"
#include "backends/plugin.h"
#include "backends/resident_models.h"
#include "backends/search_path.h"
#include "spnl/backends.h"

namespace spnl::backends {

/// What Backends and the models it loaded share: threads, opened plugins, the models in memory.
/// Models that outlive Backends keep it, without its threads.
class Runtime : public std::enable_shared_from_this<Runtime> {
 public:
  explicit Runtime(BackendsOptions options);
  ~Runtime();  ///< after shut_down(); never from a thread of its own

  const std::vector<SearchFolder>& folders() const noexcept { return folders_; }
  const std::vector<Manifest>& manifests() const noexcept { return manifests_; }
  const Environment& environment() const noexcept { return environment_; }
  std::optional<std::string> setting(const char* name) const;

  /// Loads on the loader thread; waits for the result or the stop.
  std::shared_ptr<Model> load(const Manifest& manifest, const std::string& model,
                              const std::string& name, const LoadOptions& options,
                              std::stop_token stop);

  /// Opens a library on the loader thread, to see whether it can be; the problem, or empty.
  std::string verify(const Manifest& manifest);

  /// Stops loads, closes the models still alive, then the plugins, last opened first, and joins the
  /// threads.
  void shut_down();

 private:
  struct Threads {
    explicit Threads(unsigned n) : pool(n), loader(1) {}
    boost::asio::thread_pool pool;    ///< models' strands
    boost::asio::thread_pool loader;  ///< one thread: plugins' [setup] calls
  };
  Threads& threads();
  void on_loader(std::function<void()> job);
  std::shared_ptr<Model> load_here(const Manifest& manifest, const std::string& model,
                                   const std::string& name, const LoadOptions& options,
                                   Operation& operation);
  Plugin& plugin_here(const Manifest& manifest);
  ResidentModels& models_here();
  uint64_t file_bytes(const std::string& model, const LoadOptions& options) const;

  const BackendsOptions options_;
  const Environment environment_;
  std::vector<SearchFolder> folders_;
  std::vector<Manifest> manifests_;
  Operations operations_;

  std::mutex threads_mutex_;
  std::unique_ptr<Threads> threads_;  ///< made at the first need

  // Loader thread only.
  std::vector<std::pair<const Manifest*, std::unique_ptr<Plugin>>> plugins_;
  std::unique_ptr<ResidentModels> models_;  ///< made with the first
};

}  // namespace spnl::backends
