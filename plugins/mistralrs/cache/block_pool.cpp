#include "cache/block_pool.h"

namespace spnl::mistralrs {

BlockPool::BlockPool(int32_t blocks) : references_(static_cast<size_t>(blocks), 0) {
  free_.reserve(static_cast<size_t>(blocks));
  for (int32_t b = blocks; b-- > 0;) free_.push_back(b);
}

std::optional<int32_t> BlockPool::take() {
  if (free_.empty()) return std::nullopt;
  const int32_t block = free_.back();
  free_.pop_back();
  references_[static_cast<size_t>(block)] = 1;
  return block;
}

void BlockPool::drop_reference(int32_t block) {
  if (--references_[static_cast<size_t>(block)] == 0) free_.push_back(block);
}

}  // namespace spnl::mistralrs
