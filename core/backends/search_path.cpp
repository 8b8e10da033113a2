#include "backends/search_path.h"

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "hub/printable.h"

namespace spnl::backends {

namespace {

namespace fs = std::filesystem;
using hub::printable;

constexpr size_t kMaxManifests = 256;  // in a folder

std::optional<std::string> set_value(const Environment& environment, const char* name) {
  auto value = environment ? environment(name) : std::nullopt;
  return value && !value->empty() ? value : std::nullopt;
}

/// One spelling for one folder, so that it is searched once.
fs::path normal(const fs::path& path) {
  std::error_code failed;
  fs::path out = fs::weakly_canonical(path, failed);
  if (failed) out = path.lexically_normal();
  if (!out.has_filename() && out.has_relative_path()) out = out.parent_path();
  return out;
}

std::optional<fs::path> user_folder(const Environment& environment) {
  const auto data = set_value(environment, "XDG_DATA_HOME");
  if (data && fs::path(*data).is_absolute()) return fs::path(*data) / "spnl" / "backends";
  const auto home = set_value(environment, "HOME");
  if (home && fs::path(*home).is_absolute()) return fs::path(*home) / ".local/share/spnl/backends";
  return std::nullopt;
}

/// Where the program or library that holds this function was loaded from.
fs::path own_file() {
  Dl_info info{};
  std::error_code failed;
  if (dladdr(reinterpret_cast<const void*>(&installation_folder), &info) != 0 &&
      info.dli_fname != nullptr && std::strchr(info.dli_fname, '/') != nullptr) {
    fs::path file = fs::canonical(info.dli_fname, failed);
    if (!failed) return file;
  }
  return fs::read_symlink("/proc/self/exe", failed);
}

/// The manifests' names in a folder, sorted.
std::vector<fs::path> manifest_files(const fs::path& folder, std::error_code& failed) {
  std::vector<fs::path> files;
  for (fs::directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed)) {
    const std::string name = it->path().filename().string();
    if (name.ends_with(kManifestSuffix) && name.size() > kManifestSuffix.size() &&
        files.size() < kMaxManifests)
      files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string first_trust_problem(const SearchFolder& folder, const Manifest& manifest) {
  std::string problem = trust_problem(folder.path, folder.check_owner, false);
  if (problem.empty()) problem = trust_problem(manifest.file, folder.check_owner, true);
  if (problem.empty() && !manifest.library.empty())
    problem = trust_problem(manifest.library, folder.check_owner, true);
  return problem;
}

}  // namespace

std::optional<std::string> trusted_environment(const char* name) {
  const char* value = secure_getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

fs::path installation_folder() {
  std::error_code failed;
  const fs::path file = own_file(), program = fs::canonical("/proc/self/exe", failed);
  const fs::path folder = file.parent_path();
  // Linked into the program itself: <prefix>/bin/spnl-host. Else <prefix>/lib/libspnl.so.
  if (!failed && file == program) return folder.parent_path() / "lib" / "spnl" / "backends";
  return folder / "spnl" / "backends";
}

std::vector<SearchFolder> search_folders(const std::vector<fs::path>& explicit_paths,
                                         const Environment& environment) {
  std::vector<SearchFolder> out;
  const auto add = [&](const fs::path& path, bool check_owner) {
    if (path.empty()) return;
    SearchFolder folder{normal(path), check_owner};
    const bool known = std::any_of(out.begin(), out.end(),
                                   [&](const SearchFolder& f) { return f.path == folder.path; });
    if (!known) out.push_back(std::move(folder));
  };
  for (const fs::path& path : explicit_paths) {
    std::error_code failed;
    const fs::path absolute = fs::absolute(path, failed);
    if (!path.empty() && !failed) add(absolute, false);
  }
  if (const auto list = set_value(environment, "SPNL_BACKEND_PATH")) {
    for (size_t start = 0; start <= list->size();) {
      const size_t colon = std::min(list->find(':', start), list->size());
      const fs::path path = list->substr(start, colon - start);
      if (path.is_absolute()) add(path, true);
      start = colon + 1;
    }
  }
  if (const auto user = user_folder(environment)) add(*user, true);
  add(installation_folder(), true);
  return out;
}

std::string trust_problem(const fs::path& path, bool check_owner, bool regular_file) {
  struct stat status {};
  const std::string shown = printable(path.string());
  if ((regular_file ? lstat(path.c_str(), &status) : stat(path.c_str(), &status)) != 0)
    return shown + ": " + std::error_code(errno, std::generic_category()).message();
  if (regular_file && S_ISLNK(status.st_mode))
    return shown + " is a symbolic link; put the file itself there";
  if (regular_file && !S_ISREG(status.st_mode)) return shown + " is no regular file";
  if (check_owner && status.st_uid != 0 && status.st_uid != geteuid())
    return shown + " belongs to another user; name its folder with --backend-path if you trust it";
  if ((status.st_mode & S_IWOTH) != 0) return shown + " is writable by others; chmod o-w it";
  // Private groups (umask 002) are common, so one's own group is trusted.
  if ((status.st_mode & S_IWGRP) != 0 && status.st_gid != 0 && status.st_gid != getegid())
    return shown + " is writable by another group; chmod g-w it";
  return "";
}

std::vector<Manifest> find_manifests(const std::vector<SearchFolder>& folders) {
  std::vector<Manifest> out;
  for (size_t i = 0; i < folders.size(); ++i) {
    std::error_code failed;
    const std::vector<fs::path> files = manifest_files(folders[i].path, failed);
    if (failed && failed != std::errc::no_such_file_or_directory) {
      Manifest unreadable;
      unreadable.file = folders[i].path;
      unreadable.folder = i;
      unreadable.problem = "folder cannot be read: " + failed.message();
      out.push_back(std::move(unreadable));
    }
    for (const fs::path& file : files) {
      // A device or pipe of that name must not be opened, so trust goes before reading.
      std::string problem = trust_problem(file, folders[i].check_owner, true);
      Manifest manifest;
      manifest.file = file;
      if (problem.empty()) {
        manifest = read_manifest(file);
        problem =
            manifest.problem.empty() ? first_trust_problem(folders[i], manifest) : manifest.problem;
      }
      manifest.problem = std::move(problem);
      manifest.folder = i;
      for (const Manifest& earlier : out)
        if (manifest.problem.empty() && !manifest.id.empty() && earlier.id == manifest.id &&
            earlier.folder < i) {
          manifest.hidden = true;
          manifest.problem = "hidden by the backend of the same id in " +
                             printable(folders[earlier.folder].path.string());
        }
      out.push_back(std::move(manifest));
    }
  }
  return out;
}

}  // namespace spnl::backends
