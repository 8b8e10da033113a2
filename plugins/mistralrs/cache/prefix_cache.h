#pragma once
#include <cstdint>
#include <list>
#include <span>
#include <vector>

#include "cache/block_table.h"

namespace spnl::mistralrs {

/// The full blocks of recent sequences, to be shared by later ones that begin with the same tokens
/// and turn by the same rotary frequencies (long or not: longrope). A hit is found by comparing
/// ids, so it is exact. Guarded by the model's mutex.
class PrefixCache {
 public:
  /// Keeps up to `entries` sequences (MISTRALRS_PREFIX_CACHE_N); 0: off.
  PrefixCache(BlockPool& pool, int32_t block_size, size_t entries)
      : pool_(pool), block_size_(block_size), max_entries_(entries) {}

  /// The longest run of cached blocks whose tokens are those that `ids` begins with, of at most
  /// `max_tokens`. Valid until the next change: share them at once.
  std::span<const int32_t> find(std::span<const int32_t> ids, bool long_rope, int64_t max_tokens);

  /// Remembers the full blocks among `table`'s first ids.size() tokens, which must all have been
  /// computed.
  void store(std::span<const int32_t> ids, bool long_rope, const BlockTable& table);

  /// Frees blocks, least recently used sequence first, until `blocks` are free in the pool or
  /// nothing is left.
  void make_room(int32_t blocks);

  size_t size() const { return entries_.size(); }
  void clear() { entries_.clear(); }

 private:
  struct Entry {
    std::vector<int32_t> ids;  // a whole number of blocks
    bool long_rope;
    BlockTable table;
  };
  int64_t common_blocks(const Entry& entry, std::span<const int32_t> ids, bool long_rope) const;

  BlockPool& pool_;
  const int32_t block_size_;
  const size_t max_entries_;
  std::list<Entry> entries_;  // most recently used first
};

}  // namespace spnl::mistralrs
