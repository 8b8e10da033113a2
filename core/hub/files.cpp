#include "hub/files.h"

#include <algorithm>
#include <system_error>

#include "hub/printable.h"

namespace spnl::hub {

namespace {

namespace fs = std::filesystem;

constexpr int kMaxDepth = 4;
constexpr size_t kMaxEntries = 100'000;

struct Walk {
  Listing listing;
  size_t entries = 0;

  void note(const fs::path& where, const std::string& what) {
    if (listing.problem.empty()) listing.problem = printable(where.string()) + ": " + what;
  }

  void add_file(const fs::directory_entry& entry, const std::string& name) {
    std::error_code failed;
    const fs::file_status status = fs::status(entry.path(), failed);
    if (fs::is_regular_file(status)) {
      const uint64_t bytes = fs::file_size(entry.path(), failed);
      if (!failed) {
        listing.files.push_back({name, entry.path(), bytes});
        return;
      }
    }
    if (entry.is_symlink(failed) && !fs::is_directory(status)) ++listing.dangling;
  }

  void folder(const fs::path& path, const std::string& prefix, int depth) {
    std::error_code failed;
    fs::directory_iterator it(path, failed);
    if (failed) return note(path, failed.message());
    for (; it != fs::directory_iterator(); it.increment(failed)) {
      if (failed) return note(path, failed.message());
      if (++entries > kMaxEntries) return note(path, "more files than a model has");
      const std::string name = it->path().filename().string();
      if (name.starts_with('.')) continue;
      std::error_code ignored;
      if (fs::is_directory(it->symlink_status(ignored))) {
        if (depth < kMaxDepth) folder(it->path(), prefix + name + "/", depth + 1);
      } else {
        add_file(*it, prefix + name);
      }
    }
  }
};

}  // namespace

bool glob_match(std::string_view glob, std::string_view name) {
  if (glob == "*") return true;
  // Greedy with one point to go back to: linear in practice, quadratic at worst.
  size_t g = 0, n = 0, star = glob.npos, mark = 0;
  while (n < name.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      mark = n;
    } else if (g < glob.size() && (glob[g] == name[n] || (glob[g] == '?' && name[n] != '/'))) {
      ++g, ++n;
    } else if (star != glob.npos && name[mark] != '/') {
      g = star + 1;
      n = ++mark;
    } else {
      return false;
    }
  }
  while (g < glob.size() && glob[g] == '*') ++g;
  return g == glob.size();
}

Listing list_files(const fs::path& folder) {
  Walk walk;
  walk.folder(folder, "", 0);
  std::sort(walk.listing.files.begin(), walk.listing.files.end(),
            [](const ModelFile& a, const ModelFile& b) { return a.name < b.name; });
  return std::move(walk.listing);
}

}  // namespace spnl::hub
