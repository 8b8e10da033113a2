#include "spnl/modelkit/safetensors.h"

#include <algorithm>
#include <deque>
#include <string>
#include <system_error>

#include "gguf_part.h"
#include "safetensors_file.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {

namespace fs = std::filesystem;

struct SafetensorsFolder::Impl {
  fs::path folder;
  std::deque<SafetensorsFile> files;
  std::vector<Tensor> tensors;
  std::vector<uint32_t> by_name;  // indices of tensors

  void read(const std::vector<fs::path>& paths) {
    size_t most = 0;
    for (const fs::path& path : paths) most += files.emplace_back(path).most_tensors();
    tensors.reserve(most);
    for (SafetensorsFile& file : files) file.append_tensors(tensors);
    by_name.reserve(tensors.size());
    for (uint32_t i = 0; i < tensors.size(); ++i) by_name.push_back(i);
    std::sort(by_name.begin(), by_name.end(),
              [&](uint32_t a, uint32_t b) { return tensors[a].name < tensors[b].name; });
    for (size_t i = 1; i < by_name.size(); ++i)
      if (tensors[by_name[i]].name == tensors[by_name[i - 1]].name)
        throw Error(ErrorCode::kCorrupt, folder.string() + ": tensor '" +
                                             printable(tensors[by_name[i]].name) +
                                             "' occurs twice in the model");
  }

  const Tensor* find(std::string_view name) const {
    const auto found =
        std::lower_bound(by_name.begin(), by_name.end(), name,
                         [&](uint32_t i, std::string_view n) { return tensors[i].name < n; });
    return found != by_name.end() && tensors[*found].name == name ? &tensors[*found] : nullptr;
  }
};

namespace {

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

/// Files of a folder that end in `ending`; at most a few are needed to tell.
std::vector<fs::path> files_ending_in(const fs::path& folder, std::string_view ending) {
  std::vector<fs::path> found;
  std::error_code failed;
  for (fs::directory_iterator it(folder, failed), end; !failed && it != end && found.size() < 100;
       it.increment(failed))
    if (it->path().filename().string().ends_with(ending) && is_file(it->path()))
      found.push_back(it->path());
  return found;
}

[[noreturn]] void fail_without_files(const fs::path& folder) {
  for (const std::string_view ending : {".bin", ".pt", ".pth", ".ckpt"}) {
    const auto found = files_ending_in(folder, ending);
    if (!found.empty())
      throw Error(ErrorCode::kUnsupported,
                  found[0].string() +
                      ": a PyTorch (pickle) checkpoint, which may run any program when it is read, "
                      "is never opened; take the model's safetensors files, or convert it with "
                      "save_pretrained(..., safe_serialization=True)");
  }
  throw Error(ErrorCode::kNotFound, folder.string() + ": the folder holds no .safetensors file");
}

/// The files of the model in a folder.
std::vector<fs::path> model_files(const fs::path& folder) {
  if (is_file(folder / "model.safetensors")) return {folder / "model.safetensors"};
  const fs::path index = folder / "model.safetensors.index.json";
  std::vector<fs::path> files;
  if (is_file(index)) {
    for (const std::string& name : read_shard_names(index)) {
      files.push_back(folder / name);
      if (!is_file(files.back()))
        throw Error(ErrorCode::kNotFound, files.back().string() +
                                              ": a file that the model's index names is missing; "
                                              "download the model again");
    }
    return files;
  }
  files = files_ending_in(folder, ".safetensors");
  if (files.empty()) fail_without_files(folder);
  if (files.size() > 1)
    throw Error(ErrorCode::kNotFound,
                folder.string() +
                    ": several .safetensors files, but no model.safetensors.index.json that tells "
                    "which belong to the model; name one");
  return files;
}

}  // namespace

std::unique_ptr<SafetensorsFolder> SafetensorsFolder::open(const fs::path& path) {
  auto impl = std::make_unique<Impl>();
  if (is_file(path)) {
    impl->folder = path.parent_path();
    // A shard stands for its model, any other file for itself.
    std::vector<fs::path> files = {path};
    const fs::path index = impl->folder / "model.safetensors.index.json";
    if (is_file(index)) {
      const auto names = read_shard_names(index);
      if (std::find(names.begin(), names.end(), path.filename().string()) != names.end())
        files = model_files(impl->folder);
    }
    impl->read(files);
  } else {
    impl->folder = path;
    impl->read(model_files(path));
  }
  return std::unique_ptr<SafetensorsFolder>(new SafetensorsFolder(std::move(impl)));
}

SafetensorsFolder::SafetensorsFolder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SafetensorsFolder::~SafetensorsFolder() = default;

const Tensor* SafetensorsFolder::find(std::string_view name) const { return impl_->find(name); }

const std::vector<Tensor>& SafetensorsFolder::tensors() const { return impl_->tensors; }
const fs::path& SafetensorsFolder::path() const { return impl_->folder; }

}  // namespace spnl::modelkit
