#pragma once
/// What the files of arch/ share: checked access to metadata and tensors, and rotary frequencies.
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "spnl/modelkit/gguf.h"
#include "spnl/modelkit/model_spec.h"

namespace spnl::modelkit {

/// Reads "{arch}.KEY" and the tensors of one model. Every answer is checked: numbers fit and are
/// finite, tensors exist with the wanted shape in a type that can be decoded. Throws Error naming
/// file and key or tensor.
class ArchReader {
 public:
  ArchReader(const GgufFile& file, std::string architecture);

  const GgufFile& file() const { return file_; }

  std::optional<uint32_t> find_uint(std::string_view key) const;
  uint32_t uint(std::string_view key) const;                      ///< must be there, at least 1
  uint32_t uint_or(std::string_view key, uint32_t absent) const;  ///< at least 1
  /// One number, or a list of one per layer.
  std::vector<uint32_t> per_layer(std::string_view key, uint32_t layers,
                                  std::optional<uint32_t> absent) const;
  double positive(std::string_view key, double absent) const;  ///< finite and above 0
  std::string text(std::string_view key) const;                ///< empty when absent

  /// The tensor, when it is there with exactly these dimensions (innermost first).
  Weight tensor(const std::string& name, std::initializer_list<uint64_t> dims) const;
  Weight optional_tensor(const std::string& name,
                         std::initializer_list<uint64_t> dims) const;  ///< or none

  [[noreturn]] void corrupt(const std::string& why) const;
  [[noreturn]] void unsupported(const std::string& why) const;

 private:
  std::string full_key(std::string_view key) const;

  const GgufFile& file_;
  std::string architecture_;
};

/// Rotary embedding of `dims` dimensions from rope.freq_base, rope.scaling.* and the tensor
/// rope_freqs.weight.
RopeSpec read_rope(const ArchReader& reader, RopePairs pairs, uint32_t dims, uint32_t context);

ModelSpec llama_spec(const ArchReader& reader);

}  // namespace spnl::modelkit
