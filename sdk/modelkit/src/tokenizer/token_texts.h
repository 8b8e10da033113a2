#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace spnl::modelkit {

/// Texts of tokens by their ids, one after the other in one piece of memory: eight bytes a token
/// besides the text.
class TokenTexts {
 public:
  /// Room for that many ids and bytes of text, so that nothing moves as it fills.
  void reserve(size_t tokens, size_t bytes) {
    spans_.reserve(tokens);
    arena_.reserve(bytes);
  }
  /// Ids that were not yet there get an empty text. `text` must not be one of these. Throws
  /// Error(kCorrupt) beyond 4 GiB of text.
  void set(size_t id, std::string_view text);

  size_t size() const { return spans_.size(); }
  std::string_view operator[](size_t id) const {
    return {arena_.data() + spans_[id].begin, spans_[id].size};
  }

 private:
  struct Span {
    uint32_t begin = 0, size = 0;
  };
  std::string arena_;
  std::vector<Span> spans_;
};

}  // namespace spnl::modelkit
