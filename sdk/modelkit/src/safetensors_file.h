#pragma once
#include <deque>
#include <filesystem>
#include <string>
#include <vector>

#include "mapped_file.h"
#include "spnl/modelkit/tensor_source.h"

namespace spnl::modelkit {

/// One safetensors file: u64 length of the header, the header in JSON ({name: {dtype, shape,
/// data_offsets}}), data. Throws as SafetensorsFolder::open does.
struct SafetensorsFile {
  explicit SafetensorsFile(const std::filesystem::path& path);

  MappedFile file;
  std::vector<Tensor> tensors;    ///< point into the mapping and into `names`
  std::deque<std::string> names;  ///< stay in their place as the list grows and moves
};

/// The files that model.safetensors.index.json names in "weight_map", each once, in the order of
/// their names.
std::vector<std::string> read_shard_names(const std::filesystem::path& index);

}  // namespace spnl::modelkit
