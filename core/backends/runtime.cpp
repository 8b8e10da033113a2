#include "backends/runtime.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>
#include <future>
#include <thread>

#include "backends/library.h"
#include "backends/outcome.h"
#include "hub/printable.h"
#include "spnl/error.h"
#include "spnl/hub.h"
#include "util/memory.h"

namespace spnl::backends {

namespace {

using std::chrono::milliseconds;

/// How long a stopped load may go on before its caller stops waiting for it. Plugins look every 100
/// ms.
constexpr milliseconds kStopPatience{1000};
/// Bytes for all models together; a setting.
constexpr const char* kMemoryLimit = "SPNL_MEMORY_LIMIT";

std::string key_of(const std::string& id, const std::string& model, const LoadOptions& options) {
  std::string key;
  const auto add = [&](const std::string& part) {
    key += std::to_string(part.size()) + ":" + part;
  };
  add(id);
  add(model);
  add(options.device);
  add(std::to_string(options.max_context));
  add(std::to_string(options.memory_limit));
  for (const auto& [name, value] : options.options) {
    add(name);
    add(value);
  }
  return key;
}

/// Of a model's files those of its weights. Folders often hold the same weights in other forms
/// beside: one file beside shards, pickles, a GGUF.
uint64_t weight_bytes(const std::vector<hub::ModelFile>& files) {
  uint64_t whole = 0, shards = 0, safetensors = 0, others = 0;
  for (const hub::ModelFile& file : files) {
    const std::string& name = file.name;
    if (name == "model.safetensors") whole = file.bytes;
    if (name.ends_with(".gguf") || name.ends_with(".bin")) others += file.bytes;
    if (!name.ends_with(".safetensors") || name.find('/') != name.npos) continue;
    safetensors += file.bytes;
    if (name.starts_with("model-")) shards += file.bytes;
  }
  for (const uint64_t bytes : {whole, shards, safetensors})
    if (bytes > 0) return bytes;
  return others;
}

unsigned pool_size() {
  // Each model's strand holds a thread while it steps; plugins bring their own threads for the work
  // itself.
  return std::clamp(std::thread::hardware_concurrency(), 4u, 16u);
}

}  // namespace

Runtime::Runtime(BackendsOptions options)
    : options_(std::move(options)),
      environment_(trusted_environment),
      folders_(search_folders(options_.explicit_paths, environment_)),
      manifests_(find_manifests(folders_)) {}

Runtime::~Runtime() = default;

std::optional<std::string> Runtime::setting(const char* name) const {
  const auto set = options_.config.find(name);
  return set != options_.config.end() ? set->second : environment_(name);
}

Runtime::Threads& Runtime::threads() {
  const std::lock_guard lock(threads_mutex_);
  if (threads_ == nullptr) threads_ = std::make_unique<Threads>(pool_size());
  return *threads_;
}

void Runtime::on_loader(std::function<void()> job) {
  if (thread_kind() == ThreadKind::kLoader)
    throw Error(ErrorCode::kEvaluation, "backends cannot be used from a backend's own callback");
  boost::asio::post(threads().loader, [job = std::move(job)] { run_as(ThreadKind::kLoader, job); });
}

std::string Runtime::verify(const Manifest& manifest) {
  auto result = std::make_shared<std::promise<std::string>>();
  std::future<std::string> future = result->get_future();
  on_loader([result, manifest] {
    try {
      open_library(manifest);
      result->set_value("");
    } catch (const std::exception& e) {
      result->set_value(e.what());
    }
  });
  return future.get();
}

std::shared_ptr<Model> Runtime::load(const Manifest& manifest, const std::string& model,
                                     const std::string& name, const LoadOptions& options,
                                     std::stop_token stop) {
  const auto interrupted = [name] {
    return Error(ErrorCode::kInterrupted, "loading was stopped", hub::printable(name));
  };
  const std::shared_ptr<Operation> operation = operations_.begin();
  const std::stop_callback on_stop(stop, [operation] { operation->cancelled = true; });
  using Result = Outcome<std::shared_ptr<Model>>;
  auto result = std::make_shared<std::promise<Result>>();
  std::future<Result> future = result->get_future();
  on_loader(
      [self = shared_from_this(), result, operation, &manifest, model, name, options, interrupted] {
        result->set_value(Result::of([&] {
          if (operation->cancelled) throw interrupted();
          return self->load_here(manifest, model, name, options, *operation);
        }));
        self->operations_.end(*operation);
      });
  std::chrono::steady_clock::time_point stopped{};
  while (future.wait_for(milliseconds(50)) != std::future_status::ready) {
    if (!operation->cancelled) continue;
    const auto now = std::chrono::steady_clock::now();
    if (stopped == std::chrono::steady_clock::time_point{}) stopped = now;
    if (now - stopped > kStopPatience) throw interrupted();
  }
  return future.get().take();
}

Plugin& Runtime::plugin_here(const Manifest& manifest) {
  for (auto& [opened, plugin] : plugins_)
    if (opened == &manifest) return *plugin;
  plugins_.emplace_back(&manifest, std::make_unique<Plugin>(
                                       manifest, HostContext{options_, operations_, environment_}));
  return *plugins_.back().second;
}

ResidentModels& Runtime::models_here() {
  if (models_ != nullptr) return *models_;
  std::optional<uint64_t> limit;
  if (const auto text = setting(kMemoryLimit); text && !text->empty()) {
    limit = parse_bytes(*text);
    if (!limit)
      throw Error(ErrorCode::kUsage, hub::printable(*text, 80) + " is not an amount of memory",
                  kMemoryLimit, "write bytes, or a number with K, M or G");
  }
  models_ = std::make_unique<ResidentModels>(limit, [this](const std::string& text) {
    if (options_.log) options_.log(LogLevel::kInfo, "models", text);
  });
  return *models_;
}

/// What a model's files have, where they can be found; a vocabulary alone counts nothing.
uint64_t Runtime::file_bytes(const std::string& model, const LoadOptions& options) const {
  const auto vocab_only = options.options.find("vocab_only");
  if (vocab_only != options.options.end() && vocab_only->second == "true") return 0;
  try {
    return weight_bytes(hub::resolve(hub::parse_model_name(model), "*",
                                     [this](const char* key) { return setting(key); }));
  } catch (const Error&) {
    return 0;  // the plugin will say it better, or has models that are no files
  }
}

std::shared_ptr<Model> Runtime::load_here(const Manifest& manifest, const std::string& model,
                                          const std::string& name, const LoadOptions& options,
                                          Operation& operation) {
  const std::string key = key_of(manifest.id, model, options);
  ResidentModels& models = models_here();
  if (auto handle = models.find(key)) return handle;

  Plugin& plugin = plugin_here(manifest);
  LoadOptions allowed = options;
  const uint64_t room = models.make_room(file_bytes(model, options), name);
  if (allowed.memory_limit == 0) allowed.memory_limit = room;
  const auto log = [this, id = manifest.id](LogLevel level, const std::string& text) {
    if (options_.log) options_.log(level, id, text);
  };
  return models.add(key, std::make_shared<LoadedModel>(plugin.load(model, name, allowed, operation),
                                                       threads().pool, shared_from_this(), log));
}

void Runtime::shut_down() {
  {
    const std::lock_guard lock(threads_mutex_);
    if (threads_ == nullptr) return;
  }
  operations_.cancel_all();
  on_loader([this] {
    if (models_ != nullptr) models_->close_all();
    while (!plugins_.empty()) plugins_.pop_back();
  });
  threads_->loader.join();
  threads_->pool.join();
}

}  // namespace spnl::backends
