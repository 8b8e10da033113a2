#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace spnl::modelkit {

/// SentencePiece's precompiled_charsmap: texts and what replaces them. The blob is u32 n, a trie of
/// n bytes (darts-clone's units, u32), and replacements that end in NUL. Const: thread-safe.
class Charsmap {
 public:
  /// Copies the blob. Throws Error(kCorrupt) for lengths that contradict each other.
  explicit Charsmap(std::string_view blob);

  struct Match {
    size_t size;  ///< bytes of the text
    std::string_view replacement;
  };
  std::optional<Match> longest(std::string_view text) const { return find(text, true); }
  std::optional<Match> shortest(std::string_view text) const { return find(text, false); }

 private:
  std::optional<Match> find(std::string_view text, bool longest) const;
  uint32_t unit(size_t index) const;  ///< 0 outside

  std::string blob_;
  size_t units_ = 0;
};

}  // namespace spnl::modelkit
