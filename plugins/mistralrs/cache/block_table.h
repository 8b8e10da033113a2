#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "cache/block_pool.h"

namespace spnl::mistralrs {

/// The blocks of one sequence in order, each with a reference of this table's own. Token i lies in
/// block i / block_size. The pool must outlive the table; like it for who has the engine's turn.
class BlockTable {
 public:
  BlockTable(BlockPool& pool, int32_t block_size) : pool_(&pool), block_size_(block_size) {}
  ~BlockTable() { release(); }
  BlockTable(BlockTable&& other) noexcept;
  BlockTable& operator=(BlockTable&& other) noexcept;  ///< of the same pool

  std::span<const int32_t> blocks() const { return blocks_; }
  int32_t block_size() const { return block_size_; }
  int64_t capacity() const { return static_cast<int64_t>(blocks_.size()) * block_size_; }
  int64_t slot(int64_t token) const {
    return int64_t{blocks_[static_cast<size_t>(token / block_size_)]} * block_size_ +
           token % block_size_;
  }
  /// Blocks that are missing until `tokens` fit.
  int32_t missing(int64_t tokens) const;

  /// Takes what is missing, all or nothing; false: too few are free.
  bool grow(int64_t tokens);
  void share(std::span<const int32_t> blocks);  ///< appends blocks that others own too
  void release();

 private:
  BlockPool* pool_;
  int32_t block_size_;
  std::vector<int32_t> blocks_;
};

}  // namespace spnl::mistralrs
