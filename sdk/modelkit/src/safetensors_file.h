#pragma once
#include <deque>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "json_file.h"
#include "mapped_file.h"
#include "spnl/modelkit/tensor_source.h"

namespace spnl::modelkit {

/// One safetensors file: u64 length of the header, the header in JSON ({name: {dtype, shape,
/// data_offsets}}), data. Throws as SafetensorsFolder::open does.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::string& path() const { return header_->name(); }
  size_t most_tensors() const;  ///< how many there can be
  /// They point into this, which must outlive them.
  void append_tensors(std::vector<Tensor>& tensors);

 private:
  MappedFile file_;
  std::unique_ptr<JsonFile> header_;
  std::span<const std::byte> data_;
  std::deque<std::string> escaped_names_;  ///< that do not stand in the header as they are
};

/// The files that model.safetensors.index.json names in "weight_map", each once, in the order of
/// their names.
std::vector<std::string> read_shard_names(const std::filesystem::path& index);

}  // namespace spnl::modelkit
