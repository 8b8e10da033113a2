#pragma once
#include <cstddef>
#include <deque>

#include "engine/sequence.h"

namespace spnl::mistralrs {

/// What the sequences of a session have written, so that a later prompt which quotes it can go on
/// from their keys and values, or compute those again as they were. The oldest go when all have
/// more than so many tokens.
class GeneratedTexts {
 public:
  explicit GeneratedTexts(size_t max_tokens) : max_tokens_(max_tokens) {}

  void add(const Sequence& finished);
  /// Those that `spans` name.
  Lineage of(const std::vector<modelkit::EncodedSpan>& spans) const;

 private:
  static size_t tokens_of(const GeneratedText& text);

  const size_t max_tokens_;
  size_t tokens_ = 0;
  Lineage texts_;
  std::deque<Lineage::iterator> oldest_first_;
};

}  // namespace spnl::mistralrs
