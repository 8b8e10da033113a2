#include "cache/block_cache.h"

#include <algorithm>
#include <utility>

namespace spnl::mistralrs {
namespace {

Chain part_of(const Chain& chain, int64_t first, int64_t rows) {
  const auto begin = static_cast<size_t>(first), count = static_cast<size_t>(rows);
  return {chain.root, chain.ids.subspan(begin, count), chain.positions.subspan(begin, count)};
}

/// Rows that both begin with.
size_t common_rows(const std::vector<int32_t>& ids, const std::vector<int32_t>& positions,
                   const Chain& part) {
  const auto same = [](const std::vector<int32_t>& a, std::span<const int32_t> b) {
    return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first -
                               a.begin());
  };
  return std::min(same(ids, part.ids), same(positions, part.positions));
}

}  // namespace

BlockCache::BlockCache(BlockPool& pool, int32_t block_size, size_t sequences,
                       const ChainSecret& secret)
    : pool_(pool), block_size_(block_size), max_sequences_(sequences), secret_(secret) {}

BlockCache::~BlockCache() { clear(); }

ChainKey BlockCache::key_of(const ChainKey& parent, const Chain& part) const {
  return hasher().add(parent).add(part.ids).add(part.positions).finish();
}

BlockCache::Node* BlockCache::child(const Node& parent, const Chain& part) {
  const auto found = nodes_.find(key_of(parent.key, part));
  if (found == nodes_.end()) return nullptr;
  Node& node = *found->second;
  const bool same = node.parent == &parent && node.ids.size() == part.ids.size() &&
                    common_rows(node.ids, node.positions, part) == part.ids.size();
  return same ? &node : nullptr;
}

BlockCache::Match BlockCache::longest_match(const Node& parent, const Chain& part) const {
  Match best;
  for (Node* node : parent.children) {
    const size_t rows = common_rows(node->ids, node->positions, part);
    if (rows > best.rows) best = {node, rows};
    if (rows == part.ids.size()) break;
  }
  return best;
}

BlockCache::Found BlockCache::find(const Chain& chain, int64_t most, bool closed) {
  const auto root = roots_.find(chain.root);
  if (root == roots_.end()) return {};
  most = std::min(most, chain.rows());
  std::vector<Node*> path;
  size_t hit = 0;        // nodes of the path after which the next row finds what it sees
  int64_t windowed = 0;  // nodes at the end of the path that have their windowed block
  const auto count = [&](const Node& node) {
    windowed = node.block.windowed == kNoWindowed ? 0 : windowed + 1;
  };
  int64_t rows = 0;
  Node* at = root->second.get();
  while (most - rows >= block_size_) {
    Node* next = child(*at, part_of(chain, rows, block_size_));
    if (next == nullptr) break;
    path.push_back(next);
    count(*next);
    rows += block_size_;
    if (windowed >= window_blocks(rows)) hit = path.size();
    at = next;
  }
  const Match match =
      longest_match(*at, part_of(chain, rows, std::min<int64_t>(block_size_, most - rows)));
  if (match.node != nullptr) {
    count(*match.node);
    const int64_t end = rows + static_cast<int64_t>(match.rows);
    if (closed && end == chain.rows() && windowed >= window_blocks(end)) {
      path.push_back(match.node);
      return share(path, end);
    }
  }
  Found found = share(std::span(path).first(hit), static_cast<int64_t>(hit) * block_size_);
  if (match.node == nullptr || hit < path.size() || (pool_.window() != 0 && windowed == 0))
    return found;
  touch(*match.node);
  found.next_block = match.node->block;
  found.next_rows = static_cast<int32_t>(match.rows);
  return found;
}

BlockCache::Found BlockCache::share(std::span<Node* const> path, int64_t rows) {
  Found found;
  found.rows = rows;
  const auto first_seen = std::ssize(path) - window_blocks(rows);
  for (Node* node : path) {
    touch(*node);
    const bool seen = std::ssize(found.blocks) >= first_seen;
    found.blocks.push_back({node->block.full, seen ? node->block.windowed : kNoWindowed});
  }
  return found;
}

/// Of the blocks that hold so many rows, those at the end that a row after them may see.
int64_t BlockCache::window_blocks(int64_t rows) const {
  const int64_t window = pool_.window();
  if (window == 0) return 0;
  return (rows + block_size_ - 1) / block_size_ - std::max<int64_t>(0, rows - window) / block_size_;
}

void BlockCache::store(const Chain& chain, const BlockTable& table, const Keep& keep) {
  if (keep.sequence && max_sequences_ == 0) return;
  const int64_t rows = keep.last_part ? chain.rows() : chain.rows() / block_size_ * block_size_;
  if (rows == 0) return;
  std::unique_ptr<Node>& root = roots_[chain.root];
  if (root == nullptr) {
    root = std::make_unique<Node>();
    root->key = chain.root;
  }
  Node* at = root.get();
  std::vector<Node*> path;
  for (int64_t row = 0; row < rows; row += block_size_) {
    const Block block = table.block(static_cast<size_t>(row / block_size_));
    const Chain part = part_of(chain, row, std::min<int64_t>(block_size_, rows - row));
    Node* next = child(*at, part);
    if (next == nullptr && part.rows() < block_size_) {
      const Match match = longest_match(*at, part);  // one that holds all this and more will do
      if (match.rows == part.ids.size()) next = match.node;
    }
    if (next == nullptr) next = add(*at, part, block);
    if (next == nullptr) break;
    if (next->block.windowed == kNoWindowed && block.windowed != kNoWindowed &&
        next->ids.size() == part.ids.size()) {  // it was given up, and computed again
      next->block.windowed = block.windowed;
      pool_.add_reference(BlockKind::kWindowed, block.windowed);
    }
    mark(*next, keep);
    path.push_back(next);
    at = next;
  }
  find_behind(path, rows);
  if (root->children.empty()) roots_.erase(chain.root);
  bound_sequences();
}

/// Which nodes of a stored path a later sequence is least likely to need the windowed blocks of: it
/// leaves the path at its end, or where others have.
void BlockCache::find_behind(std::span<Node* const> path, int64_t rows) {
  if (pool_.window() == 0) return;
  int64_t near = window_blocks(rows);
  for (size_t i = path.size(); i-- > 0; --near) {
    Node& node = *path[i];
    if (node.children.size() > 1)
      near = std::max(near, window_blocks(static_cast<int64_t>(i + 1) * block_size_));
    behind_.erase(node.priority);
    node.behind = near <= 0 && node.block.windowed != kNoWindowed;
    if (node.behind) behind_.insert(node.priority);
  }
}

/// Null: another chain has this key.
BlockCache::Node* BlockCache::add(Node& parent, const Chain& part, const Block& block) {
  auto made = std::make_unique<Node>();
  made->key = key_of(parent.key, part);
  made->parent = &parent;
  made->ids.assign(part.ids.begin(), part.ids.end());
  made->positions.assign(part.positions.begin(), part.positions.end());
  made->block = block;
  made->sequence = true;  // until a fragment is stored here
  Node& node = *made;
  if (!nodes_.emplace(node.key, std::move(made)).second) return nullptr;
  pool_.add_reference(block);
  leaves_.erase(parent.priority);
  parent.children.push_back(&node);
  leaves_.insert(node.priority = {0, 0, 0, &node});
  drop_covered(parent, node);
  return &node;
}

/// Part-full blocks whose rows all stand in a new one are of no use any more.
void BlockCache::drop_covered(Node& parent, const Node& by) {
  const std::vector<Node*> siblings = parent.children;
  const Chain all{parent.key, by.ids, by.positions};
  for (Node* other : siblings)
    if (other != &by && other->children.empty() && !other->pin &&
        pool_.references(BlockKind::kFull, other->block.full) == 1 &&
        (by.block.windowed != kNoWindowed || other->block.windowed == kNoWindowed) &&
        common_rows(other->ids, other->positions, all) == other->ids.size())
      erase(*other);
}

void BlockCache::mark(Node& node, const Keep& keep) {
  node.sequence = node.sequence && keep.sequence;
  node.pin = node.pin || keep.pin;
  node.next_use = keep.next_use;
  touch(node);
}

void BlockCache::touch(Node& node) {
  ++node.uses;
  const double share = static_cast<double>(node.ids.size()) / block_size_;
  const int rank = node.pin ? 2 : node.next_use != 0 ? 1 : 0;
  leaves_.erase(node.priority);
  behind_.erase(node.priority);
  node.priority = {rank, clock_ + node.uses * share, ++tick_, &node};
  if (node.children.empty()) leaves_.insert(node.priority);
  if (node.behind) behind_.insert(node.priority);
}

void BlockCache::erase(Node& node) {
  Node& parent = *node.parent;
  leaves_.erase(node.priority);
  behind_.erase(node.priority);
  std::erase(parent.children, &node);
  pool_.drop_reference(node.block);
  nodes_.erase(node.key);
  if (!parent.children.empty()) return;
  if (parent.parent == nullptr)
    roots_.erase(parent.key);
  else
    leaves_.insert(parent.priority);
}

void BlockCache::make_room(const BlockCounts& blocks) {
  while (!pool_.fits(blocks)) {
    const bool windowed_helps = pool_.has_numbers(BlockKind::kFull, blocks.full);
    if (windowed_helps && drop_behind()) continue;
    if (!evict_leaf() && !(windowed_helps && drop_some_windowed())) return;
  }
}

/// The windowed block that is least likely to be needed. False: there is none that nobody uses.
bool BlockCache::drop_behind() {
  const auto victim = std::find_if(behind_.begin(), behind_.end(), [&](const Priority& p) {
    return pool_.references(BlockKind::kWindowed, std::get<Node*>(p)->block.windowed) == 1;
  });
  if (victim == behind_.end()) return false;
  drop_windowed(*std::get<Node*>(*victim));
  return true;
}

/// False: there is none that nobody uses.
bool BlockCache::evict_leaf() {
  const auto victim = std::find_if(leaves_.begin(), leaves_.end(), [&](const Priority& p) {
    return pool_.references(BlockKind::kFull, std::get<Node*>(p)->block.full) == 1;
  });
  if (victim == leaves_.end()) return false;
  clock_ = std::max(clock_, std::get<double>(*victim));
  erase(*std::get<Node*>(*victim));
  return true;
}

void BlockCache::drop_windowed(Node& node) {
  behind_.erase(node.priority);
  node.behind = false;
  pool_.drop_reference(BlockKind::kWindowed, std::exchange(node.block.windowed, kNoWindowed));
}

/// The last resort: those that nobody uses but whose full blocks are in use. False: there are none.
bool BlockCache::drop_some_windowed() {
  bool dropped = false;
  for (const auto& [key, node] : nodes_) {
    const int32_t windowed = node->block.windowed;
    if (windowed == kNoWindowed || pool_.references(BlockKind::kWindowed, windowed) > 1) continue;
    drop_windowed(*node);
    dropped = true;
  }
  return dropped;
}

size_t BlockCache::sequences() const {
  return static_cast<size_t>(std::count_if(leaves_.begin(), leaves_.end(), [](const Priority& p) {
    return std::get<Node*>(p)->sequence;
  }));
}

/// Forgets the sequences that were used longest ago, each up to where another begins like it.
void BlockCache::bound_sequences() {
  for (size_t count = sequences(); count > max_sequences_; --count) {
    Node* oldest = nullptr;
    for (const Priority& p : leaves_) {
      Node* node = std::get<Node*>(p);
      if (node->sequence &&
          (oldest == nullptr || std::get<uint64_t>(p) < std::get<uint64_t>(oldest->priority)))
        oldest = node;
    }
    while (oldest->sequence) {
      Node* parent = oldest->parent;
      const bool done = parent->children.size() > 1 || parent->parent == nullptr;
      erase(*oldest);  // a root goes with its last child
      if (done) break;
      oldest = parent;
    }
  }
}

void BlockCache::clear() {
  for (const auto& [key, node] : nodes_) pool_.drop_reference(node->block);
  nodes_.clear();
  roots_.clear();
  leaves_.clear();
  behind_.clear();
}

}  // namespace spnl::mistralrs
