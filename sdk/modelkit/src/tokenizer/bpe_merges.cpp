#include "tokenizer/bpe_merges.h"

#include <algorithm>
#include <array>
#include <queue>

#include "spnl/modelkit/error.h"
#include "tokenizer_vocab.h"

namespace spnl::modelkit {
namespace {

constexpr uint32_t kNoRank = UINT32_MAX;
constexpr uint32_t kRankMask = (1u << 22) - 1;  // of a slot; the rest is its tag
constexpr size_t kShortWord = 48;               // below it scanning all pairs again beats a heap

uint64_t pair_key(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

}  // namespace

BpeMerges::BpeMerges(size_t count) {
  if (count >= kRankMask)
    throw Error(ErrorCode::kUnsupported, "tokenizer: " + std::to_string(count) +
                                             " merges, more than the " +
                                             std::to_string(kRankMask - 1) + " that can be kept");
  pairs_.reserve(count);
  slots_.assign(count + count / 4 + 16, 0);
}

void BpeMerges::merge(std::vector<Symbol>& symbols) const {
  if (symbols.size() <= kShortWord) {
    merge_short(symbols);
  } else {
    merge_long(symbols);
  }
}

BpeMerges::Place BpeMerges::place_of(int32_t left, int32_t right) const {
  const uint64_t hash = hash_mix(pair_key(left, right));
  return {static_cast<uint32_t>(hash) * uint64_t{slots_.size()} >> 32,
          static_cast<uint32_t>(hash >> 32) & ~kRankMask};
}

const BpeMerges::Pair* BpeMerges::pair_in(uint32_t slot, uint32_t tag, int32_t left,
                                          int32_t right) const {
  if ((slot & ~kRankMask) != tag) return nullptr;
  const Pair& pair = pairs_[(slot & kRankMask) - 1];
  return pair.left == left && pair.right == right ? &pair : nullptr;
}

void BpeMerges::add(int32_t left, int32_t right, int32_t result, bool replace) {
  auto [i, tag] = place_of(left, right);
  while (slots_[i] != 0) {
    if (pair_in(slots_[i], tag, left, right) != nullptr) {
      if (!replace) return;
      break;
    }
    i = i + 1 == slots_.size() ? 0 : i + 1;
  }
  pairs_.push_back({left, right, result});
  slots_[i] = tag | static_cast<uint32_t>(pairs_.size());
}

BpeMerges::Merge BpeMerges::merge_of(int32_t left, int32_t right) const {
  auto [i, tag] = place_of(left, right);
  for (; slots_[i] != 0; i = i + 1 == slots_.size() ? 0 : i + 1)
    if (const Pair* const pair = pair_in(slots_[i], tag, left, right))
      return {(slots_[i] & kRankMask) - 1, pair->result};
  return {kNoRank, -1};
}

void BpeMerges::merge_short(std::vector<Symbol>& symbols) const {
  std::array<Merge, kShortWord> ranks;
  size_t n = symbols.size();
  for (size_t i = 0; i + 1 < n; ++i) ranks[i] = merge_of(symbols[i].id, symbols[i + 1].id);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i) {
      if (ranks[i].rank < ranks[best].rank) best = i;
    }
    if (ranks[best].rank == kNoRank) break;
    symbols[best].id = ranks[best].result;
    symbols[best].size += symbols[best + 1].size;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    --n;
    std::move(ranks.begin() + best + 1, ranks.begin() + n, ranks.begin() + best);
    if (best + 1 < n) ranks[best] = merge_of(symbols[best].id, symbols[best + 1].id);
    if (best > 0) ranks[best - 1] = merge_of(symbols[best - 1].id, symbols[best].id);
  }
}

void BpeMerges::merge_long(std::vector<Symbol>& symbols) const {
  struct Candidate {
    uint32_t rank;
    int32_t left, left_id, right_id, result;
    bool operator<(const Candidate& other) const {  // a heap keeps the greatest on top
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  std::vector<Candidate> seeds;
  const auto candidate = [&](int32_t left, int32_t right, auto&& add) {
    const Merge merge = merge_of(symbols[left].id, symbols[right].id);
    if (merge.rank != kNoRank)
      add(Candidate{merge.rank, left, symbols[left].id, symbols[right].id, merge.result});
  };
  const auto n = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i < n; ++i) {
    symbols[i].previous = i - 1;
    symbols[i].next = i + 1 < n ? i + 1 : -1;
    if (i + 1 < n) candidate(i, i + 1, [&](const Candidate& c) { seeds.push_back(c); });
  }
  std::priority_queue<Candidate> queue(std::less<Candidate>(), std::move(seeds));
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[top.left];
    if (left.size == 0 || left.id != top.left_id || left.next < 0) continue;
    Symbol& right = symbols[left.next];
    if (right.id != top.right_id) continue;
    left.id = top.result;
    left.size += right.size;
    right.size = 0;
    left.next = right.next;
    if (left.next >= 0) symbols[left.next].previous = top.left;
    const auto push = [&](const Candidate& c) { queue.push(c); };
    if (left.previous >= 0) candidate(left.previous, top.left, push);
    if (left.next >= 0) candidate(top.left, left.next, push);
  }
  std::erase_if(symbols, [](const Symbol& symbol) { return symbol.size == 0; });
}

}  // namespace spnl::modelkit
