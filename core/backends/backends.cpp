// spnl::Backends: routing a name to a backend, and what is known of backends without opening them.
#include "spnl/backends.h"

#include "backends/abi_check.h"
#include "backends/router.h"
#include "backends/runtime.h"
#include "hub/printable.h"
#include "spnl/error.h"
#include "spnl/hub.h"

namespace spnl {

struct Backends::Impl {
  std::shared_ptr<backends::Runtime> runtime;

  backends::Route route(const std::string& name) const {
    return backends::route(runtime->manifests(), runtime->folders(), name);
  }

  /// A name without a prefix that no model has may have been meant for a backend that is not there.
  /// Said before the default backend is opened, which takes time.
  void check_prefixless(const std::string& name) const {
    try {
      hub::resolve(hub::parse_model_name(name), "*",
                   [this](const char* key) { return runtime->setting(key); });
    } catch (const Error& error) {
      std::string hint = error.hint();
      if (const size_t slash = name.find('/');
          slash != name.npos && slash > 0 && !name.starts_with('.'))
        hint += (hint.empty() ? "" : "; ") + ("'" + hub::printable(name.substr(0, slash), 80)) +
                "' is no backend's prefix either, " +
                backends::describe_found(runtime->manifests(), runtime->folders());
      throw Error(error.code(), error.message(), error.where(), hint);
    }
  }
};

Backends::Backends(BackendsOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->runtime = std::make_shared<backends::Runtime>(std::move(options));
}

Backends::~Backends() { impl_->runtime->shut_down(); }

std::vector<BackendInfo> Backends::list(bool verify) const {
  std::vector<BackendInfo> out;
  for (const backends::Manifest& manifest : impl_->runtime->manifests()) {
    BackendInfo info{manifest.id,   manifest.version, manifest.prefixes, manifest.capabilities,
                     manifest.file, manifest.library, manifest.problem,  manifest.hidden};
    if (verify && info.problem.empty()) info.problem = impl_->runtime->verify(manifest);
    out.push_back(std::move(info));
  }
  return out;
}

std::vector<std::filesystem::path> Backends::search_path() const {
  std::vector<std::filesystem::path> out;
  for (const backends::SearchFolder& folder : impl_->runtime->folders()) out.push_back(folder.path);
  return out;
}

std::shared_ptr<Model> Backends::load(const std::string& name, const LoadOptions& options,
                                      std::stop_token stop) {
  const backends::Route route = impl_->route(name);
  if (!route.by_prefix) impl_->check_prefixless(name);
  return impl_->runtime->load(*route.manifest, route.model, name, options, std::move(stop));
}

std::vector<std::string> Backends::capabilities(const std::string& model_name) const {
  return impl_->route(model_name).manifest->capabilities;
}

}  // namespace spnl
