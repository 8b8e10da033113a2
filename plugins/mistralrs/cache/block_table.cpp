#include "cache/block_table.h"

#include <algorithm>
#include <utility>

namespace spnl::mistralrs {

BlockTable::BlockTable(BlockTable&& other) noexcept
    : pool_(other.pool_),
      block_size_(other.block_size_),
      blocks_(std::exchange(other.blocks_, {})) {}

BlockTable& BlockTable::operator=(BlockTable&& other) noexcept {
  if (this == &other) return *this;
  release();
  blocks_ = std::exchange(other.blocks_, {});
  return *this;
}

int32_t BlockTable::missing(int64_t tokens) const {
  const int64_t needed = (tokens + block_size_ - 1) / block_size_;
  return static_cast<int32_t>(std::max<int64_t>(0, needed - static_cast<int64_t>(blocks_.size())));
}

bool BlockTable::grow(int64_t tokens) {
  const int32_t needed = missing(tokens);
  if (needed > pool_->free_blocks()) return false;
  for (int32_t i = 0; i < needed; ++i) blocks_.push_back(*pool_->take());
  return true;
}

void BlockTable::share(std::span<const int32_t> blocks) {
  for (const int32_t block : blocks) {
    pool_->add_reference(block);
    blocks_.push_back(block);
  }
}

void BlockTable::release() {
  for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block)
    pool_->drop_reference(*block);
  blocks_.clear();
}

}  // namespace spnl::mistralrs
