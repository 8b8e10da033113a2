#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace spnl::mistralrs {

/// Keys and values of tokens lie in two blocks: one of the layers that see all tokens before, and
/// one of those that see a window. A model may have either kind of layers, or both.
enum class BlockKind { kFull, kWindowed };

/// Stands for a windowed block whose tokens no window reaches any more. Its memory is there, all
/// zeros, so that kernels need not know: they never use what they read of it.
constexpr int32_t kNoWindowed = 0;

/// The blocks of the same tokens.
struct Block {
  int32_t full = -1;
  int32_t windowed = kNoWindowed;
  bool operator==(const Block&) const = default;
};

/// The blocks of tokens that follow each other, by kind.
struct BlockNumbers {
  template <class Range>
  BlockNumbers(const Range& of_full, std::span<const int32_t> of_windowed = {})
      : full(of_full), windowed(of_windowed) {}
  std::span<const int32_t> of(BlockKind kind) const {
    return kind == BlockKind::kFull ? full : windowed;
  }

  std::span<const int32_t> full, windowed;
};

/// So many blocks of each kind.
struct BlockCounts {
  BlockCounts(int32_t of_full = 0, int32_t of_windowed = 0)
      : full(of_full), windowed(of_windowed) {}
  BlockCounts& operator+=(const BlockCounts& more) {
    full += more.full;
    windowed += more.windowed;
    return *this;
  }
  bool operator==(const BlockCounts&) const = default;

  int32_t full, windowed;
};

/// Who uses which block: reference counts over block numbers, no memory of its own. Both kinds
/// share one budget of bytes, so that it serves few long sequences as well as many short ones.
/// Not thread-safe: for who has the engine's turn.
class BlockPool {
 public:
  struct Sizes {
    BlockCounts blocks;  ///< numbers of each kind: 0.., of windowed ones without kNoWindowed: 1..
    uint64_t full_bytes = 1, windowed_bytes = 0;  ///< of one block
    uint64_t budget = 0;                          ///< bytes of all used blocks
    int32_t window = 0;  ///< tokens that windowed layers see, the row's own included; 0: none
  };
  /// Gives the memory of a free block back to the system: it is needed for one of the other kind.
  using Discard = std::function<void(BlockKind, int32_t)>;

  /// Of a model without windows.
  explicit BlockPool(int32_t blocks);
  explicit BlockPool(const Sizes& sizes, Discard discard = {});

  const Sizes& sizes() const { return sizes_; }
  int32_t window() const { return sizes_.window; }
  uint64_t budget() const { return sizes_.budget; }
  uint64_t used_bytes() const { return used_bytes_; }
  int32_t used_blocks() const { return used(BlockKind::kFull) + used(BlockKind::kWindowed); }
  int32_t used(BlockKind kind) const;
  /// Whether so many blocks are free, all at once.
  bool fits(const BlockCounts& more) const;
  /// How many times so many would be if no block were used.
  int64_t times(const BlockCounts& all) const;
  bool can_hold(const BlockCounts& all) const { return times(all) > 0; }
  /// Of so many blocks in this proportion, the full ones that there is memory for.
  int32_t full_of(const BlockCounts& all) const;
  bool has_numbers(BlockKind kind, int32_t more) const;

  /// A block with one reference, the most recently freed first (its pages are touched already);
  /// empty: none is free.
  std::optional<int32_t> take(BlockKind kind);
  void add_reference(BlockKind kind, int32_t block) { ++of(kind).references[index(block)]; }
  void drop_reference(BlockKind kind, int32_t block);
  int32_t references(BlockKind kind, int32_t block) const {
    return of(kind).references[index(block)];
  }
  /// Of both blocks, or of the one that there is.
  void add_reference(const Block& block);
  void drop_reference(const Block& block);

 private:
  struct Numbers {
    uint64_t bytes = 0;  // of one
    std::vector<int32_t> references;
    std::vector<int32_t> untouched, freed;  // stacks of those that are free
  };

  static size_t index(int32_t block) { return static_cast<size_t>(block); }
  Numbers& of(BlockKind kind) { return numbers_[static_cast<size_t>(kind)]; }
  const Numbers& of(BlockKind kind) const { return numbers_[static_cast<size_t>(kind)]; }
  uint64_t bytes_of(const BlockCounts& blocks) const;
  void touch(BlockKind kind);

  const Sizes sizes_;
  const Discard discard_;
  std::array<Numbers, 2> numbers_;  // by kind
  uint64_t used_bytes_ = 0;
  uint64_t touched_bytes_ = 0;  // of used and freed blocks
};

/// Blocks that a sequence of so many rows has at most at any time, when each step adds up to
/// `step_rows` and what is behind all windows is given up before it.
BlockCounts most_blocks(const BlockPool& pool, int64_t rows, int64_t block_size, int64_t step_rows);

}  // namespace spnl::mistralrs
