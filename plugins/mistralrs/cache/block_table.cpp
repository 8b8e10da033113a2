#include "cache/block_table.h"

#include <algorithm>
#include <utility>

namespace spnl::mistralrs {

BlockTable::BlockTable(BlockTable&& other) noexcept
    : pool_(other.pool_),
      block_size_(other.block_size_),
      full_(std::exchange(other.full_, {})),
      windowed_(std::exchange(other.windowed_, {})),
      left_(std::exchange(other.left_, 0)) {}

BlockTable& BlockTable::operator=(BlockTable&& other) noexcept {
  if (this == &other) return *this;
  release();
  full_ = std::exchange(other.full_, {});
  windowed_ = std::exchange(other.windowed_, {});
  left_ = std::exchange(other.left_, 0);
  return *this;
}

BlockCounts BlockTable::missing(int64_t tokens, int64_t windowed_tokens) const {
  const auto count = [this](int64_t wanted, const std::vector<int32_t>& have) {
    const int64_t needed = (wanted + block_size_ - 1) / block_size_;
    return static_cast<int32_t>(std::max<int64_t>(0, needed - std::ssize(have)));
  };
  return {count(tokens, full_), pool_->window() == 0 ? 0 : count(windowed_tokens, windowed_)};
}

bool BlockTable::grow(int64_t tokens, int64_t windowed_tokens) {
  const BlockCounts needed = missing(tokens, windowed_tokens);
  if (!pool_->fits(needed)) return false;
  for (int32_t i = 0; i < needed.full; ++i) full_.push_back(*pool_->take(BlockKind::kFull));
  for (int32_t i = 0; i < needed.windowed; ++i)
    windowed_.push_back(*pool_->take(BlockKind::kWindowed));
  return true;
}

void BlockTable::share(std::span<const Block> blocks) {
  for (const Block& block : blocks) {
    pool_->add_reference(block);
    full_.push_back(block.full);
    if (pool_->window() != 0) windowed_.push_back(block.windowed);
  }
}

void BlockTable::share(const BlockTable& other, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const Block block = other.block(i);
    share(std::span(&block, 1));
  }
}

/// Leading blocks whose last token stands before the window of `next`.
int64_t BlockTable::behind(int64_t next) const {
  if (pool_->window() == 0 || next <= pool_->window()) return 0;
  return std::min<int64_t>((next - pool_->window()) / block_size_, std::ssize(windowed_));
}

void BlockTable::leave_behind(int64_t next) {
  for (const int64_t end = behind(next); left_ < end; ++left_) {
    int32_t& block = windowed_[static_cast<size_t>(left_)];
    if (block != kNoWindowed) pool_->drop_reference(BlockKind::kWindowed, block);
    block = kNoWindowed;
  }
}

void BlockTable::release() {
  for (size_t i = full_.size(); i-- > 0;) pool_->drop_reference(BlockKind::kFull, full_[i]);
  for (size_t i = windowed_.size(); i-- > 0;)
    if (windowed_[i] != kNoWindowed) pool_->drop_reference(BlockKind::kWindowed, windowed_[i]);
  full_.clear();
  windowed_.clear();
  left_ = 0;
}

}  // namespace spnl::mistralrs
