#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "cache/block_pool.h"

namespace spnl::mistralrs {

/// The blocks of one sequence in order, each with a reference of this table's own. Token i lies in
/// the blocks number i / block_size of both kinds. Windowed blocks are given up when all windows
/// are past them, and are not there at all in a model without windows. The pool must outlive the
/// table; like it for who has the engine's turn.
class BlockTable {
 public:
  BlockTable(BlockPool& pool, int32_t block_size) : pool_(&pool), block_size_(block_size) {}
  ~BlockTable() { release(); }
  BlockTable(BlockTable&& other) noexcept;
  BlockTable& operator=(BlockTable&& other) noexcept;  ///< of the same pool

  /// kNoWindowed where a windowed one was given up.
  std::span<const int32_t> blocks(BlockKind kind = BlockKind::kFull) const {
    return kind == BlockKind::kFull ? full_ : windowed_;
  }
  BlockNumbers numbers() const { return {full_, windowed_}; }
  Block block(size_t index) const {
    return {full_[index], index < windowed_.size() ? windowed_[index] : kNoWindowed};
  }
  int32_t block_size() const { return block_size_; }
  int64_t capacity() const { return static_cast<int64_t>(full_.size()) * block_size_; }
  int64_t slot(int64_t token, BlockKind kind = BlockKind::kFull) const {
    return int64_t{blocks(kind)[static_cast<size_t>(token / block_size_)]} * block_size_ +
           token % block_size_;
  }
  /// Blocks that are missing until `tokens` fit, of windowed ones only the first `windowed_tokens`.
  BlockCounts missing(int64_t tokens, int64_t windowed_tokens) const;
  BlockCounts missing(int64_t tokens) const { return missing(tokens, tokens); }

  /// Takes what is missing, all or nothing; false: too few are free.
  bool grow(int64_t tokens, int64_t windowed_tokens);
  bool grow(int64_t tokens) { return grow(tokens, tokens); }
  void share(std::span<const Block> blocks);  ///< appends blocks that others own too
  void share(const BlockTable& other, size_t count);
  /// Gives up the windowed blocks that no token from `next` on sees.
  void leave_behind(int64_t next);
  bool has_to_leave(int64_t next) const { return behind(next) > left_; }
  void release();

 private:
  int64_t behind(int64_t next) const;

  BlockPool* pool_;
  int32_t block_size_;
  std::vector<int32_t> full_, windowed_;
  int64_t left_ = 0;  // leading windowed blocks that were given up
};

}  // namespace spnl::mistralrs
