#pragma once
#include <string_view>

#include "gguf_part.h"

namespace spnl::modelkit {

/// Do these bytes start a file from before GGUF: "ggml", "ggmf" or "ggjt"?
bool is_legacy_ggml(std::span<const std::byte> bytes);
bool is_legacy_ggml_file(const std::filesystem::path& path);  ///< false for what cannot be read

/// Reads such a file of the llama family, mapped as part.file, and fills in values and tensors
/// under the names and keys of GGUF, so that what reads a llama GGUF reads it unchanged. What the
/// format does not hold is inferred: key-value heads and the size of the MLP from shapes, eps from
/// the generation. Throws Error: kCorrupt (what, and at which byte), kUnsupported (another model,
/// or quantised tensors in a layout from before version 3).
void read_legacy_ggml(const std::filesystem::path& path, GgufPart& part);

}  // namespace spnl::modelkit
