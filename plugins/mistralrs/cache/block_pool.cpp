#include "cache/block_pool.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace spnl::mistralrs {

BlockPool::BlockPool(int32_t blocks)
    : BlockPool(Sizes{{blocks, 0}, 1, 0, static_cast<uint64_t>(blocks), 0}) {}

BlockPool::BlockPool(const Sizes& sizes, Discard discard)
    : sizes_(sizes), discard_(std::move(discard)) {
  const auto fill = [](Numbers& numbers, uint64_t bytes, int32_t first, int32_t count) {
    numbers.bytes = bytes;
    numbers.references.resize(index(first + count), 0);
    numbers.untouched.reserve(index(count));
    for (int32_t b = first + count; b-- > first;) numbers.untouched.push_back(b);
  };
  fill(of(BlockKind::kFull), sizes.full_bytes, 0, sizes.blocks.full);
  fill(of(BlockKind::kWindowed), sizes.windowed_bytes, kNoWindowed + 1, sizes.blocks.windowed);
}

int32_t BlockPool::used(BlockKind kind) const {
  const Numbers& numbers = of(kind);
  const int32_t all = kind == BlockKind::kFull ? sizes_.blocks.full : sizes_.blocks.windowed;
  return all - static_cast<int32_t>(numbers.untouched.size() + numbers.freed.size());
}

uint64_t BlockPool::bytes_of(const BlockCounts& blocks) const {
  return static_cast<uint64_t>(blocks.full) * sizes_.full_bytes +
         static_cast<uint64_t>(blocks.windowed) * sizes_.windowed_bytes;
}

bool BlockPool::has_numbers(BlockKind kind, int32_t more) const {
  return index(more) <= of(kind).untouched.size() + of(kind).freed.size();
}

bool BlockPool::fits(const BlockCounts& more) const {
  return has_numbers(BlockKind::kFull, more.full) &&
         has_numbers(BlockKind::kWindowed, more.windowed) &&
         used_bytes_ + bytes_of(more) <= sizes_.budget;
}

int64_t BlockPool::times(const BlockCounts& all) const {
  int64_t times = std::numeric_limits<int64_t>::max();
  const auto limit = [&](auto have, auto of_one) {
    if (of_one > 0) times = std::min(times, static_cast<int64_t>(have / of_one));
  };
  limit(sizes_.blocks.full, all.full);
  limit(sizes_.blocks.windowed, all.windowed);
  limit(sizes_.budget, bytes_of(all));
  return times;
}

int32_t BlockPool::full_of(const BlockCounts& all) const {
  const uint64_t bytes_of_one = bytes_of(all) / static_cast<uint64_t>(std::max(all.full, 1));
  const auto full = static_cast<uint64_t>(sizes_.blocks.full);
  return static_cast<int32_t>(std::min(full, sizes_.budget / std::max<uint64_t>(bytes_of_one, 1)));
}

std::optional<int32_t> BlockPool::take(BlockKind kind) {
  Numbers& numbers = of(kind);
  if (!fits(kind == BlockKind::kFull ? BlockCounts(1, 0) : BlockCounts(0, 1))) return std::nullopt;
  if (numbers.freed.empty()) touch(kind);
  const int32_t block = numbers.freed.back();
  numbers.freed.pop_back();
  numbers.references[index(block)] = 1;
  used_bytes_ += numbers.bytes;
  return block;
}

/// Makes one more block of a kind be touched, for which freed ones of the other kind may have to
/// go: what is not used fits the budget.
void BlockPool::touch(BlockKind kind) {
  Numbers& numbers = of(kind);
  const BlockKind other_kind = kind == BlockKind::kFull ? BlockKind::kWindowed : BlockKind::kFull;
  Numbers& other = of(other_kind);
  while (touched_bytes_ + numbers.bytes > sizes_.budget && !other.freed.empty()) {
    const int32_t block = other.freed.back();
    other.freed.pop_back();
    other.untouched.push_back(block);
    touched_bytes_ -= other.bytes;
    if (discard_) discard_(other_kind, block);
  }
  touched_bytes_ += numbers.bytes;
  numbers.freed.push_back(numbers.untouched.back());
  numbers.untouched.pop_back();
}

void BlockPool::drop_reference(BlockKind kind, int32_t block) {
  Numbers& numbers = of(kind);
  if (--numbers.references[index(block)] > 0) return;
  numbers.freed.push_back(block);
  used_bytes_ -= numbers.bytes;
}

void BlockPool::add_reference(const Block& block) {
  add_reference(BlockKind::kFull, block.full);
  if (block.windowed != kNoWindowed) add_reference(BlockKind::kWindowed, block.windowed);
}

void BlockPool::drop_reference(const Block& block) {
  drop_reference(BlockKind::kFull, block.full);
  if (block.windowed != kNoWindowed) drop_reference(BlockKind::kWindowed, block.windowed);
}

BlockCounts most_blocks(const BlockPool& pool, int64_t rows, int64_t block_size,
                        int64_t step_rows) {
  const auto blocks_of = [&](int64_t count) {
    return static_cast<int32_t>((count + block_size - 1) / block_size);
  };
  const int32_t all = blocks_of(rows);
  if (pool.window() == 0) return {all, 0};
  return {all, std::min(all, blocks_of(pool.window() + step_rows) + 1)};
}

}  // namespace spnl::mistralrs
