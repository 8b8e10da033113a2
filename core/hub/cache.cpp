// The Hugging Face cache: models--org--name/{refs/main, blobs/<etag>, snapshots/<commit>/file ->
// ../../blobs/<etag>}.
#include "hub/cache.h"

#include <algorithm>
#include <fstream>
#include <system_error>

#include "spnl/error.h"
#include "spnl/hub.h"

namespace spnl::hub {

namespace {

namespace fs = std::filesystem;

std::optional<std::string> set_value(const Environment& environment, const char* name) {
  auto value = environment ? environment(name) : std::nullopt;
  return value && !value->empty() ? value : std::nullopt;
}

fs::path home_folder(const Environment& environment) {
  if (auto home = set_value(environment, "HOME")) return *home;
  throw Error(ErrorCode::kNotFound, "no cache folder: HOME is not set", "",
              "set HF_HUB_CACHE or HF_HOME");
}

/// "~/x" as the shell would read it; relative values count from the current folder.
fs::path expand(const std::string& value, const Environment& environment) {
  fs::path path = value;
  if (value == "~") path = home_folder(environment);
  if (value.starts_with("~/")) path = home_folder(environment) / value.substr(2);
  std::error_code ignored;
  const fs::path absolute = fs::absolute(path, ignored);
  return ignored ? path : absolute;
}

/// The commit in refs/main, or nothing when it is not one plain path component.
std::optional<std::string> main_commit(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_regular_file(folder / "refs" / "main", ignored)) return std::nullopt;
  std::ifstream in(folder / "refs" / "main", std::ios::binary);
  char buffer[129];
  in.read(buffer, sizeof buffer);
  std::string commit(buffer, static_cast<size_t>(in.gcount()));
  while (!commit.empty() &&
         (commit.back() == '\n' || commit.back() == '\r' || commit.back() == ' '))
    commit.pop_back();
  if (commit.empty() || commit.size() > 128) return std::nullopt;
  for (char c : commit)
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
          c == '-'))
      return std::nullopt;
  return commit;
}

}  // namespace

fs::path cache_folder(const Environment& environment) {
  if (auto cache = set_value(environment, "HF_HUB_CACHE")) return expand(*cache, environment);
  if (auto home = set_value(environment, "HF_HOME")) return expand(*home, environment) / "hub";
  return home_folder(environment) / ".cache" / "huggingface" / "hub";
}

std::string repository_folder(const std::string& repository) {
  const size_t slash = repository.find('/');
  if (slash == repository.npos) return "models--" + repository;
  return "models--" + repository.substr(0, slash) + "--" + repository.substr(slash + 1);
}

std::vector<fs::path> snapshots(const fs::path& repository_folder) {
  struct Snapshot {
    fs::path path;
    fs::file_time_type time;
  };
  std::vector<Snapshot> found;
  std::error_code failed;
  for (fs::directory_iterator it(repository_folder / "snapshots", failed), end;
       !failed && it != end; it.increment(failed)) {
    std::error_code ignored;
    if (found.size() < 1000 && it->is_directory(ignored))
      found.push_back({it->path(), fs::last_write_time(it->path(), ignored)});
  }
  const auto commit = main_commit(repository_folder);
  std::sort(found.begin(), found.end(), [&](const Snapshot& a, const Snapshot& b) {
    const bool a_main = commit && a.path.filename() == *commit,
               b_main = commit && b.path.filename() == *commit;
    if (a_main != b_main) return a_main;
    return a.time != b.time ? a.time > b.time : a.path < b.path;
  });
  std::vector<fs::path> out;
  for (Snapshot& snapshot : found) out.push_back(std::move(snapshot.path));
  return out;
}

}  // namespace spnl::hub
