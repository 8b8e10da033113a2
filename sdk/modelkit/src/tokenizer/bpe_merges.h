#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace spnl::modelkit {

/// The merges of byte pair encoding: the neighbours of lowest rank first, of equal ranks the
/// leftmost (Sennrich et al. 2016). Const once all are added: thread-safe.
class BpeMerges {
 public:
  struct Symbol {
    int32_t id;
    uint32_t size;  ///< bytes; 0: merged into the one before
    int32_t previous = -1, next = -1;
  };

  explicit BpeMerges(size_t count);  ///< how many will be added at most
  void add(int32_t left, int32_t right, uint32_t rank, int32_t result);
  /// Merges until nothing more merges. At most 2^31 symbols; n log n in their number.
  void merge(std::vector<Symbol>& symbols) const;

 private:
  struct Merge {
    uint32_t rank;  // kNoRank: none
    int32_t result;
  };
  struct Slot {
    uint64_t key;
    Merge merge;
  };
  Merge merge_of(int32_t left, int32_t right) const;
  void merge_short(std::vector<Symbol>& symbols) const;
  void merge_long(std::vector<Symbol>& symbols) const;

  std::vector<Slot> slots_;  // open addressing, a power of two
};

}  // namespace spnl::modelkit
