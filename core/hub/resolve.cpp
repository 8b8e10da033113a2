// From a model's name to its files on this machine.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <system_error>

#include "hub/cache.h"
#include "hub/files.h"
#include "hub/gguf_choice.h"
#include "hub/printable.h"
#include "spnl/error.h"
#include "spnl/hub.h"

namespace spnl::hub {

namespace {

namespace fs = std::filesystem;

std::string shown(const fs::path& path) { return printable(path.string(), 1000); }

/// Does a folder hold GGUF models, of which one is to be chosen, rather than one model in other
/// files? A selector names a GGUF; without one, safetensors beside a GGUF are the model.
bool is_gguf_repository(const std::vector<ModelFile>& files, const ModelName& model) {
  if (!model.selector.empty()) return true;
  bool gguf = false, safetensors = false;
  for (const ModelFile& file : files) {
    gguf = gguf || is_gguf_name(file.name);
    safetensors = safetensors || file.name.ends_with(".safetensors");
  }
  std::string upper = model.repository;
  for (char& c : upper)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return gguf && (!safetensors || upper.find("GGUF") != upper.npos);
}

struct Selection {
  std::vector<ModelFile> files;
  std::string reason;  ///< why there are none
};

/// The files of one folder that the name and the glob ask for.
Selection select(const fs::path& folder, const ModelName& name, std::string_view glob) {
  const Listing listing = list_files(folder);
  Selection out;
  const bool choose = is_gguf_repository(listing.files, name);
  if (choose && (glob == "*" || is_gguf_name(glob))) {
    GgufChoice choice = choose_gguf(listing.files, name.selector);
    // An own pattern ("model*.gguf") narrows; the usual ones take the choice, in whatever subfolder
    // it is.
    if (glob != "*" && glob != "*.gguf")
      std::erase_if(choice.files, [&](const ModelFile& f) { return !glob_match(glob, f.name); });
    out.files = std::move(choice.files);
    out.reason = std::move(choice.reason);
  } else {
    for (const ModelFile& file : listing.files)
      if (glob_match(glob, file.name)) out.files.push_back(file);
  }
  if (!out.files.empty()) return out;
  if (out.reason.empty()) out.reason = "no file matches '" + printable(glob, 80) + "'";
  if (listing.dangling > 0)
    out.reason += "; " + std::to_string(listing.dangling) +
                  " links lead nowhere (a download that did not finish?)";
  if (!listing.problem.empty()) out.reason += "; " + listing.problem;
  return out;
}

/// Files that a cache or a person renamed are known by their first bytes.
bool has_gguf_magic(const fs::path& path) {
  char magic[4] = {};
  std::ifstream in(path, std::ios::binary);
  return in.read(magic, 4) && std::memcmp(magic, "GGUF", 4) == 0;
}

std::vector<ModelFile> resolve_file(const fs::path& path, std::string_view glob) {
  std::error_code failed;
  ModelFile file{path.filename().string(), path, fs::file_size(path, failed)};
  if (failed)
    throw Error(ErrorCode::kNotFound, "cannot read the model file: " + failed.message(),
                shown(path));
  const bool matches = glob_match(glob, file.name) || (glob == "*.gguf" && has_gguf_magic(path));
  if (!matches)
    throw Error(ErrorCode::kNotFound,
                "the model is one file that does not match '" + printable(glob, 80) + "'",
                shown(path));
  if (!is_gguf_name(file.name)) return {file};
  std::string missing;
  std::vector<ModelFile> parts = {file};
  // Only a name that claims to be a part needs its folder read.
  if (parts_of(file, {}, missing).empty()) {
    missing.clear();
    parts = parts_of(file, list_files(path.parent_path()).files, missing);
  }
  if (parts.empty())
    throw Error(ErrorCode::kNotFound,
                "part " + printable(missing, 160) + " of a split file is missing", shown(path));
  return parts;
}

std::vector<ModelFile> resolve_path(const ModelName& name, std::string_view glob) {
  std::error_code failed;
  const fs::file_status status = fs::status(name.path, failed);
  if (fs::is_regular_file(status)) return resolve_file(name.path, glob);
  if (fs::is_directory(status)) {
    Selection selection = select(name.path, name, glob);
    if (!selection.files.empty()) return std::move(selection.files);
    throw Error(ErrorCode::kNotFound, selection.reason, shown(name.path));
  }
  const std::string why = status.type() == fs::file_type::not_found ? "no such file or folder"
                          : failed                                  ? failed.message()
                                                                    : "neither a file nor a folder";
  throw Error(ErrorCode::kNotFound, "model not found: " + why, shown(name.path), "check the path");
}

bool has_weights(const std::vector<ModelFile>& files) {
  return std::any_of(files.begin(), files.end(), [](const ModelFile& file) {
    return is_gguf_name(file.name) || file.name.ends_with(".safetensors");
  });
}

std::vector<ModelFile> resolve_repository(const ModelName& name, std::string_view glob,
                                          const Environment& environment) {
  const fs::path folder = cache_folder(environment) / repository_folder(name.repository);
  std::string reason;
  std::vector<ModelFile> found;
  for (const fs::path& snapshot : snapshots(folder)) {
    Selection selection = select(snapshot, name, glob);
    // Who asks for all wants a model: a snapshot of which other tools fetched the tokenizer alone
    // has none.
    if (!selection.files.empty() && (glob != "*" || has_weights(selection.files)))
      return std::move(selection.files);
    if (found.empty()) found = std::move(selection.files);
    // The first is the one that counts as current: its reason helps most.
    if (reason.empty()) reason = selection.reason;
  }
  if (!found.empty()) return found;
  const std::string model = name.repository + (name.selector.empty() ? "" : ":" + name.selector);
  std::error_code failed;
  const fs::file_status status = fs::status(folder, failed);
  if (!reason.empty())
    throw Error(ErrorCode::kNotFound, "model " + model + ": " + reason,
                "looked in " + shown(folder));
  if (status.type() == fs::file_type::not_found)
    throw Error(ErrorCode::kNotFound, "model " + model + " is not in the Hugging Face cache",
                "looked for " + shown(folder),
                "put it there with another tool (models are not downloaded yet), set HF_HUB_CACHE "
                "or HF_HOME, or "
                "give a path");
  throw Error(
      ErrorCode::kNotFound,
      "model " + model + ": " + (failed ? failed.message() : "its cache folder holds no snapshot"),
      "looked in " + shown(folder), "download it again");
}

}  // namespace

std::vector<ModelFile> resolve(const ModelName& name, std::string_view glob,
                               const Environment& environment) {
  if (!name.path.empty()) return resolve_path(name, glob);
  return resolve_repository(name, glob, environment);
}

}  // namespace spnl::hub
