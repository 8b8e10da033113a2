#include "cache/prefix_cache.h"

#include <algorithm>

namespace spnl::mistralrs {

int64_t PrefixCache::common_blocks(const Entry& entry, std::span<const int32_t> ids,
                                   bool long_rope) const {
  if (entry.long_rope != long_rope) return 0;
  const auto [end, other] =
      std::mismatch(entry.ids.begin(), entry.ids.end(), ids.begin(), ids.end());
  return (end - entry.ids.begin()) / block_size_;
}

std::span<const int32_t> PrefixCache::find(std::span<const int32_t> ids, bool long_rope,
                                           int64_t max_tokens) {
  int64_t best_blocks = 0;
  auto best = entries_.end();
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    const int64_t blocks =
        std::min(common_blocks(*entry, ids, long_rope), max_tokens / block_size_);
    if (blocks > best_blocks) {
      best_blocks = blocks;
      best = entry;
    }
  }
  if (best == entries_.end()) return {};
  entries_.splice(entries_.begin(), entries_, best);
  return best->table.blocks().first(static_cast<size_t>(best_blocks));
}

void PrefixCache::store(std::span<const int32_t> ids, bool long_rope, const BlockTable& table) {
  const int64_t blocks = static_cast<int64_t>(ids.size()) / block_size_;
  if (max_entries_ == 0 || blocks == 0) return;
  const auto kept = ids.first(static_cast<size_t>(blocks * block_size_));
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const int64_t common = common_blocks(*entry, kept, long_rope);
    if (common == blocks) {  // known already
      entries_.splice(entries_.begin(), entries_, entry);
      return;
    }
    const bool covered = common == static_cast<int64_t>(entry->table.blocks().size());
    entry = covered ? entries_.erase(entry) : std::next(entry);
  }
  entries_.push_front({{kept.begin(), kept.end()}, long_rope, BlockTable(pool_, block_size_)});
  entries_.front().table.share(table.blocks().first(static_cast<size_t>(blocks)));
  if (entries_.size() > max_entries_) entries_.pop_back();
}

void PrefixCache::make_room(int32_t blocks) {
  while (pool_.free_blocks() < blocks && !entries_.empty()) entries_.pop_back();
}

}  // namespace spnl::mistralrs
