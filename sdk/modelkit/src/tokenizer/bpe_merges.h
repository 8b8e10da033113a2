#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace spnl::modelkit {

/// The merges of byte pair encoding: the neighbours of lowest rank first, of equal ranks the
/// leftmost (Sennrich et al. 2016). Const once all are added: thread-safe. Memory: seventeen bytes
/// a merge.
class BpeMerges {
 public:
  struct Symbol {
    int32_t id;
    uint32_t size;  ///< bytes; 0: merged into the one before
    int32_t previous = -1, next = -1;
  };

  /// `count`: how many will be added at most. Throws Error(kUnsupported) above four million.
  explicit BpeMerges(size_t count);
  /// In the order of their ranks. Of equal pairs the first counts, or with `replace` the last.
  void add(int32_t left, int32_t right, int32_t result, bool replace = false);
  /// Merges until nothing more merges. At most 2^31 symbols; n log n in their number.
  void merge(std::vector<Symbol>& symbols) const;

 private:
  struct Merge {
    uint32_t rank;  // kNoRank: none
    int32_t result;
  };
  struct Pair {
    int32_t left, right, result;
  };
  struct Place {
    size_t slot;
    uint32_t tag;
  };
  Place place_of(int32_t left, int32_t right) const;
  /// The pair in this slot, if it is the one; null else.
  const Pair* pair_in(uint32_t slot, uint32_t tag, int32_t left, int32_t right) const;
  Merge merge_of(int32_t left, int32_t right) const;
  void merge_short(std::vector<Symbol>& symbols) const;
  void merge_long(std::vector<Symbol>& symbols) const;

  std::vector<Pair> pairs_;      // by rank
  std::vector<uint32_t> slots_;  // open addressing, a fifth free: a tag, and a rank + 1; 0: free
};

}  // namespace spnl::modelkit
