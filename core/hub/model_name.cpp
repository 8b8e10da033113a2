// Names of models: what a name without its backend prefix stands for.
#include <system_error>

#include "hub/printable.h"
#include "hub/short_names.h"
#include "spnl/error.h"
#include "spnl/hub.h"

namespace spnl::hub {

namespace {

namespace fs = std::filesystem;

bool is_word(std::string_view text, size_t limit) {
  if (text.empty() || text.size() > limit) return false;
  for (char c : text) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_' || c == '.';
    if (!ok) return false;
  }
  return true;
}

/// A part of "org/name". The cache writes '/' as "--", and a part may not climb out of its folder.
bool is_repository_part(std::string_view text) {
  return is_word(text, 96) && text.find("..") == text.npos && text.find("--") == text.npos &&
         text != ".";
}

bool looks_like_path(std::string_view name) {
  return name.starts_with('/') || name.starts_with("./") || name.starts_with("../") ||
         name == "." || name == "..";
}

bool exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

fs::path absolute(const std::string& name) {
  std::error_code failed;
  fs::path path = fs::absolute(name, failed);
  if (failed)
    throw Error(ErrorCode::kNotFound, "cannot find the current folder: " + failed.message(),
                printable(name));
  return path.lexically_normal();
}

/// "path" or "folder:QUANT".
std::optional<ModelName> as_path(const std::string& name) {
  if (name.size() > 4096) return std::nullopt;
  if (exists(name)) return ModelName{absolute(name), "", ""};
  const size_t colon = name.rfind(':');
  if (colon != name.npos && colon > 0 && is_word(std::string_view(name).substr(colon + 1), 64) &&
      exists(name.substr(0, colon)))
    return ModelName{absolute(name.substr(0, colon)), "", name.substr(colon + 1)};
  // What can only be a path is one; resolve says that it is missing.
  if (looks_like_path(name)) return ModelName{absolute(name), "", ""};
  return std::nullopt;
}

/// "org/name" or "org/name:QUANT".
std::optional<ModelName> as_repository(std::string_view name) {
  std::string_view selector;
  if (const size_t colon = name.find(':'); colon != name.npos) {
    selector = name.substr(colon + 1);
    name = name.substr(0, colon);
    if (!is_word(selector, 64)) return std::nullopt;
  }
  const size_t slash = name.find('/');
  if (slash == name.npos || !is_repository_part(name.substr(0, slash)) ||
      !is_repository_part(name.substr(slash + 1)))
    return std::nullopt;
  return ModelName{{}, std::string(name), std::string(selector)};
}

/// "smollm2:135m" or "smollm2:135m:Q8_0".
std::optional<ModelName> as_short_name(std::string_view name) {
  if (auto repository = short_name_repository(name)) return ModelName{{}, *repository, ""};
  const size_t colon = name.rfind(':');
  if (colon == name.npos || !is_word(name.substr(colon + 1), 64)) return std::nullopt;
  if (auto repository = short_name_repository(name.substr(0, colon)))
    return ModelName{{}, *repository, std::string(name.substr(colon + 1))};
  return std::nullopt;
}

}  // namespace

bool is_short_name(const std::string& name) { return as_short_name(name).has_value(); }

ModelName parse_model_name(const std::string& name) {
  if (name.empty()) throw Error(ErrorCode::kUsage, "empty model name");
  if (name.find('\0') != name.npos)
    throw Error(ErrorCode::kUsage, "model name contains a zero byte", printable(name));
  if (auto found = as_short_name(name)) return *found;
  if (auto found = as_path(name)) return *found;
  if (auto found = as_repository(name)) return *found;

  std::string hint = "give a path, org/name[:QUANT] or a short name";
  const auto near = near_short_names(name);
  for (size_t i = 0; i < near.size(); ++i) hint += (i == 0 ? "; near: " : ", ") + near[i];
  throw Error(ErrorCode::kUsage, "no model is called '" + printable(name) + "'", "", hint);
}

}  // namespace spnl::hub
