#pragma once
#include <string>
#include <vector>

#include "backends/manifest.h"
#include "backends/search_path.h"

namespace spnl::backends {

struct Route {
  const Manifest* manifest = nullptr;  ///< one of those given
  std::string model;                   ///< the name without the prefix
  bool by_prefix = false;              ///< false: a short name or org/name, for the default backend
};

/// The backend for a model name: the longest prefix that stands before a '/', in the earliest
/// folder; the same prefix twice in one folder is an error. A name without a known prefix is a
/// short name, org/name or path for the backend that has the prefix "mistralrs". Throws Error:
/// kNotFound (names backends and folders), kNotLoadable (its problem).
Route route(const std::vector<Manifest>& manifests, const std::vector<SearchFolder>& folders,
            const std::string& name);

/// "backends found: cpu_ref (cpu_ref/), ...; looked in /a, /b (missing)", for messages.
std::string describe_found(const std::vector<Manifest>& manifests,
                           const std::vector<SearchFolder>& folders);

}  // namespace spnl::backends
