#pragma once
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "cache/block_table.h"
#include "cache/chain_key.h"

namespace spnl::mistralrs {

/// Tokens one after the other, as their keys and values lie in blocks: a row is a token at a
/// position. `root` stands for all else that they depend on: what they see before themselves, and
/// the rotary frequencies. ids and positions have the same size.
struct Chain {
  ChainKey root;
  std::span<const int32_t> ids, positions;

  Chain first(int64_t rows) const {
    return {root, ids.first(static_cast<size_t>(rows)), positions.first(static_cast<size_t>(rows))};
  }
  int64_t rows() const { return static_cast<int64_t>(ids.size()); }
};

/// The blocks of sequences and fragments, running or gone, to be shared by any that have the same
/// tokens in the same surroundings. A tree of blocks for each root: a block is named by the key of
/// its chain, and a hit is confirmed by comparing ids and positions. The last block of a chain may
/// be part full.
///
/// Blocks that nobody else refers to are evicted when room is needed, leaves first: those that no
/// later request is known to need before those that one will, pinned ones last; among equals by
/// GreedyDual-Size-Frequency (Cherkasova 1998), where a block costs what its tokens do. Before all
/// of them go windowed blocks that are a window away from every end and fork of the tree. A hit
/// ends where the windowed blocks that the next row sees are there. Used by one thread at a time.
class BlockCache {
 public:
  /// Keeps the ends of up to `sequences` whole sequences (MISTRALRS_PREFIX_CACHE_N; 0: none);
  /// fragments are bounded by memory alone.
  BlockCache(BlockPool& pool, int32_t block_size, size_t sequences, const ChainSecret& secret);
  ~BlockCache();

  struct Found {
    /// To be shared: they hold the first `rows` rows; of windowed ones those that later rows see.
    std::vector<Block> blocks;
    int64_t rows = 0;
    Block next_block;  ///< its first next_rows slots hold the rows after those: to be copied
    int32_t next_rows = 0;
  };
  /// What there is of a chain, at most `most` rows. `closed`: nothing is ever written behind its
  /// last row, so that a block which holds more can be shared. Valid until the next change.
  Found find(const Chain& chain, int64_t most, bool closed);

  struct Keep {
    bool sequence = false;   ///< one of the bounded number, else a fragment
    bool last_part = false;  ///< the last block too when it is part full: nobody writes to it again
    bool pin = false;
    uint64_t next_use = 0;  ///< nonzero: a later request will use it
  };
  /// Remembers the blocks of a chain whose rows have all been computed.
  void store(const Chain& chain, const BlockTable& table, const Keep& keep);

  /// Evicts until `blocks` are free in the pool, or nothing can go any more.
  void make_room(const BlockCounts& blocks);

  ChainHasher hasher() const { return ChainHasher(secret_); }
  /// Names a whole chain, in blocks of any size, to those that see it.
  ChainKey end_of(const Chain& chain) const { return key_of(chain.root, chain); }

  size_t size() const { return nodes_.size(); }  ///< blocks
  size_t sequences() const;
  void clear();

 private:
  struct Node;
  using Priority = std::tuple<int, double, uint64_t, Node*>;
  struct Node {
    ChainKey key;
    Node* parent = nullptr;  // null: the root itself, which has no block
    std::vector<Node*> children;
    std::vector<int32_t> ids, positions;
    Block block;
    bool behind = false;  // a window away from every end and fork
    bool sequence = false, pin = false;
    uint64_t next_use = 0;
    uint32_t uses = 0;
    Priority priority{};
  };
  struct Match {
    Node* node = nullptr;
    size_t rows = 0;
  };

  ChainKey key_of(const ChainKey& parent, const Chain& part) const;
  Node* child(const Node& parent, const Chain& part);
  Match longest_match(const Node& parent, const Chain& part) const;
  Node* add(Node& parent, const Chain& part, const Block& block);
  Found share(std::span<Node* const> path, int64_t rows);
  int64_t window_blocks(int64_t rows) const;
  void find_behind(std::span<Node* const> path, int64_t rows);
  void drop_windowed(Node& node);
  bool drop_behind();
  bool drop_some_windowed();
  bool evict_leaf();
  void touch(Node& node);
  void mark(Node& node, const Keep& keep);
  void drop_covered(Node& parent, const Node& by);
  void erase(Node& node);
  void bound_sequences();

  BlockPool& pool_;
  const int32_t block_size_;
  const size_t max_sequences_;
  const ChainSecret secret_;
  std::unordered_map<ChainKey, std::unique_ptr<Node>, ChainKeyHash> nodes_, roots_;
  std::set<Priority> leaves_;
  std::set<Priority> behind_;  // nodes with a windowed block that is
  double clock_ = 0;
  uint64_t tick_ = 0;
};

}  // namespace spnl::mistralrs
