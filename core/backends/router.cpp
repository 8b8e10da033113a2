#include "backends/router.h"

#include <system_error>

#include "hub/printable.h"
#include "spnl/error.h"
#include "spnl/hub.h"

namespace spnl::backends {

namespace {

using hub::printable;

constexpr std::string_view kDefaultPrefix = "mistralrs";

[[noreturn]] void fail_unusable(const Manifest& manifest, const std::string& hint = "") {
  throw Error(ErrorCode::kNotLoadable,
              "backend " + manifest.id + " cannot be used: " + manifest.problem,
              printable(manifest.file.string()), hint);
}

/// The manifest that owns `prefix`: that of the earliest folder. Null: none.
const Manifest* owner_of(const std::vector<Manifest>& manifests, std::string_view prefix) {
  const Manifest* found = nullptr;
  for (const Manifest& manifest : manifests) {
    bool has = false;
    for (const std::string& own : manifest.prefixes) has = has || own == prefix;
    if (!has || (found != nullptr && found->folder < manifest.folder)) continue;
    if (found != nullptr)
      throw Error(ErrorCode::kNotLoadable,
                  "two backends claim the prefix '" + std::string(prefix) + "/': " + found->id +
                      " and " + manifest.id,
                  printable(found->file.string()) + " and " + printable(manifest.file.string()),
                  "remove one, or put one into an earlier folder");
    found = &manifest;
  }
  return found;
}

/// The longest known prefix that stands before a '/' of the name.
const Manifest* longest_prefix(const std::vector<Manifest>& manifests, const std::string& name,
                               size_t& length) {
  for (size_t slash = name.rfind('/'); slash != name.npos && slash > 0;
       slash = name.rfind('/', slash - 1)) {
    if (const Manifest* found = owner_of(manifests, std::string_view(name).substr(0, slash))) {
      length = slash;
      return found;
    }
  }
  return nullptr;
}

}  // namespace

std::string describe_found(const std::vector<Manifest>& manifests,
                           const std::vector<SearchFolder>& folders) {
  std::string found, unusable, looked;
  for (const Manifest& manifest : manifests) {
    if (!manifest.problem.empty()) {
      const std::string name =
          manifest.id.empty() ? printable(manifest.file.filename().string(), 120) : manifest.id;
      unusable += (unusable.empty() ? "" : ", ") + name + " (" + manifest.problem + ")";
      continue;
    }
    found += (found.empty() ? "" : ", ") + manifest.id + " (";
    for (size_t i = 0; i < manifest.prefixes.size(); ++i)
      found += (i == 0 ? "" : " ") + manifest.prefixes[i] + "/";
    found += ")";
  }
  for (const SearchFolder& folder : folders) {
    std::error_code ignored;
    looked += (looked.empty() ? "" : ", ") + printable(folder.path.string(), 1000);
    if (!std::filesystem::exists(folder.path, ignored)) looked += " (missing)";
  }
  return (found.empty() ? "no usable backend found" : "backends found: " + found) +
         (unusable.empty() ? "" : "; not usable: " + unusable) + "; looked in " + looked;
}

Route route(const std::vector<Manifest>& manifests, const std::vector<SearchFolder>& folders,
            const std::string& name) {
  size_t length = 0;
  if (const Manifest* found = longest_prefix(manifests, name, length)) {
    if (!found->problem.empty()) fail_unusable(*found);
    if (name.size() == length + 1)
      throw Error(ErrorCode::kNotFound, "'" + printable(name) + "' names a backend but no model",
                  "", "write " + printable(name) + "MODEL");
    return {found, name.substr(length + 1), true};
  }
  try {
    hub::parse_model_name(name);
  } catch (const Error& error) {
    throw Error(ErrorCode::kNotFound, error.message(), error.where(),
                error.hint() + "; " + describe_found(manifests, folders));
  }
  const Manifest* fallback = owner_of(manifests, kDefaultPrefix);
  if (fallback == nullptr)
    throw Error(ErrorCode::kNotFound, "no backend for model '" + printable(name) + "'", "",
                "begin the name with a backend's prefix; " + describe_found(manifests, folders));
  // The name may also have been meant for another backend: say which there are.
  if (!fallback->problem.empty()) fail_unusable(*fallback, describe_found(manifests, folders));
  return {fallback, name, false};
}

}  // namespace spnl::backends
