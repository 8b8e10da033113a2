#pragma once
#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

namespace spnl::modelkit {

/// Cuts text into the words that byte-level BPE never merges across. Const after construction:
/// thread-safe.
class Pretokenizer {
 public:
  /// `name`: the value of tokenizer.ggml.pre. Throws Error(kUnsupported) for one that is not in the
  /// table.
  explicit Pretokenizer(std::string_view name);
  ~Pretokenizer();
  Pretokenizer(Pretokenizer&&) noexcept;

  /// Ends of the words, ascending; the last is text.size(). Linear in the text. Bytes that are no
  /// UTF-8 form words of their own. Throws Error(kNoMemory) when the matcher runs into its limits.
  std::vector<size_t> split(std::string_view text) const;

  bool ignore_merges() const;  ///< a word that is a token as a whole is taken without merging
  bool add_bos() const;        ///< default when the file has no add_bos_token

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spnl::modelkit
