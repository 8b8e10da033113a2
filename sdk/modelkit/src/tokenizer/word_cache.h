#pragma once
#include <string_view>
#include <vector>

#include "tokenizer_vocab.h"

namespace spnl::modelkit {

/// Words come again and again: remembers where in the output each of the last ones went. For one
/// text and one output, to which nothing else writes.
class WordCache {
 public:
  explicit WordCache(size_t text_size) : seen_(text_size > 4096 ? 4096 : text_size > 64 ? 64 : 0) {}

  /// Appends what `make` would for `word`, which begins at byte `base` and lives as long as this.
  template <typename Make>
  void encode(std::string_view word, size_t base, EncodedText& out, Make&& make) {
    Seen* const seen = seen_.empty() ? nullptr : &seen_[hash_bytes(word) & (seen_.size() - 1)];
    if (seen != nullptr && seen->word == word) {
      for (size_t i = 0; i < seen->count; ++i) {
        out.ids.push_back(int32_t{out.ids[seen->first + i]});
        out.ends.push_back(out.ends[seen->first + i] - seen->base + base);
      }
      return;
    }
    const size_t first = out.ids.size();
    make(word, base, out);
    if (seen != nullptr) *seen = {word, base, first, out.ids.size() - first};
  }

 private:
  struct Seen {
    std::string_view word;
    size_t base = 0, first = 0, count = 0;
  };
  std::vector<Seen> seen_;
};

}  // namespace spnl::modelkit
