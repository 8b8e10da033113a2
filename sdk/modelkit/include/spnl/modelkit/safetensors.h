#pragma once
#include <filesystem>
#include <memory>

#include "spnl/modelkit/tensor_source.h"

namespace spnl::modelkit {

/// The safetensors files of a model folder, mapped read-only: model.safetensors, the shards that
/// model.safetensors.index.json lists, or the only *.safetensors file there. Every offset and
/// length is checked against the file. Tensors keep the names of the files; dimensions are turned
/// round (dims[0] is the last of the file's shape), and of a tensor with more than four the
/// outermost ones are multiplied together. Const after open: thread-safe.
class SafetensorsFolder final : public TensorSource {
 public:
  /// `path`: the folder, or one file in it: a shard stands for its model, any other file for
  /// itself. Throws Error: kNotFound (no file, a shard that is missing), kIo, kCorrupt (what, and
  /// in which file), kUnsupported (a type of element that this build does not know; a folder with
  /// PyTorch pickles alone, which are programs and are never run).
  static std::unique_ptr<SafetensorsFolder> open(const std::filesystem::path& path);
  ~SafetensorsFolder() override;

  const Tensor* find(std::string_view name) const override;
  const std::vector<Tensor>& tensors() const override;
  const std::filesystem::path& path() const override;  ///< the folder

 private:
  struct Impl;
  explicit SafetensorsFolder(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace spnl::modelkit
