#pragma once
#include <deque>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "mapped_file.h"
#include "spnl/modelkit/gguf.h"

namespace spnl::modelkit {

/// One GGUF file (or one from before GGUF, see legacy_ggml.h), read and checked. Values and tensors
/// point into the mapping and into `strings`.
struct GgufPart {
  explicit GgufPart(const std::filesystem::path& path);  ///< throws as GgufFile::open does

  MappedFile file;
  std::unordered_map<std::string_view, GgufFile::Value> values;
  std::vector<GgufFile::RawValue> raw_values;
  std::vector<Tensor> tensors;
  std::deque<std::string> strings;  ///< texts that the file does not hold as they are wanted
};

/// Text from a file made fit for a one-line message: control bytes replaced, cut at 80 bytes.
std::string printable(std::string_view text);

/// What a file that is no GGUF seems to be, and what to do about it.
std::string describe_foreign_file(std::span<const std::byte> bytes);

}  // namespace spnl::modelkit
