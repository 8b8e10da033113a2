#include "engine/ngram_index.h"

#include <algorithm>

namespace spnl::mistralrs {
namespace {

constexpr size_t kGram = 3;
constexpr unsigned kBitsOfId = 21;  // more than any vocabulary; what collides is a poor guess

}  // namespace

uint64_t NgramIndex::key(std::span<const int32_t> ids, size_t end) {
  uint64_t key = 0;
  for (size_t i = end - kGram; i < end; ++i) key = key << kBitsOfId | static_cast<uint32_t>(ids[i]);
  return key;
}

void NgramIndex::propose(std::span<const int32_t> ids, size_t count,
                         std::vector<int32_t>& guesses) {
  guesses.clear();
  if (ids.size() < kGram || count == 0) return;
  // All trigrams but the last one: that is the one to be found.
  for (size_t end = std::max(kGram, indexed_ + 1); end < ids.size(); ++end)
    last_end_[key(ids, end)] = static_cast<uint32_t>(end);
  indexed_ = std::max(indexed_, ids.size() - 1);
  const auto found = last_end_.find(key(ids, ids.size()));
  if (found == last_end_.end()) return;
  const size_t from = found->second, distance = ids.size() - from;
  for (size_t i = 0; i < count; ++i)
    guesses.push_back(i < distance ? ids[from + i] : guesses[i - distance]);
}

}  // namespace spnl::mistralrs
