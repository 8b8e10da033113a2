#include "cache/block_cache.h"

#include <algorithm>

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
  Found found;
  const auto root = roots_.find(chain.root);
  if (root == roots_.end()) return found;
  most = std::min(most, chain.rows());
  Node* at = root->second.get();
  while (most - found.rows >= block_size_) {
    Node* next = child(*at, part_of(chain, found.rows, block_size_));
    if (next == nullptr) break;
    touch(*next);
    found.blocks.push_back(next->block);
    found.rows += block_size_;
    at = next;
  }
  const Chain rest = part_of(chain, found.rows, std::min<int64_t>(block_size_, most - found.rows));
  const Match match = longest_match(*at, rest);
  if (match.node == nullptr) return found;
  touch(*match.node);
  if (closed && found.rows + static_cast<int64_t>(match.rows) == chain.rows()) {
    found.blocks.push_back(match.node->block);
    found.rows = chain.rows();
  } else {
    found.next_block = match.node->block;
    found.next_rows = static_cast<int32_t>(match.rows);
  }
  return found;
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
  for (int64_t row = 0; row < rows; row += block_size_) {
    const Chain part = part_of(chain, row, std::min<int64_t>(block_size_, rows - row));
    Node* next = child(*at, part);
    if (next == nullptr && part.rows() < block_size_) {
      const Match match = longest_match(*at, part);  // one that holds all this and more will do
      if (match.rows == part.ids.size()) next = match.node;
    }
    if (next == nullptr)
      next = add(*at, part, table.blocks()[static_cast<size_t>(row / block_size_)]);
    if (next == nullptr) break;
    mark(*next, keep);
    at = next;
  }
  if (root->children.empty()) roots_.erase(chain.root);
  bound_sequences();
}

/// Null: another chain has this key.
BlockCache::Node* BlockCache::add(Node& parent, const Chain& part, int32_t block) {
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
        pool_.references(other->block) == 1 &&
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
  node.priority = {rank, clock_ + node.uses * share, ++tick_, &node};
  if (node.children.empty()) leaves_.insert(node.priority);
}

void BlockCache::erase(Node& node) {
  Node& parent = *node.parent;
  leaves_.erase(node.priority);
  std::erase(parent.children, &node);
  pool_.drop_reference(node.block);
  nodes_.erase(node.key);
  if (!parent.children.empty()) return;
  if (parent.parent == nullptr)
    roots_.erase(parent.key);
  else
    leaves_.insert(parent.priority);
}

void BlockCache::make_room(int32_t blocks) {
  while (pool_.free_blocks() < blocks) {
    const auto victim = std::find_if(leaves_.begin(), leaves_.end(), [&](const Priority& p) {
      return pool_.references(std::get<Node*>(p)->block) == 1;
    });
    if (victim == leaves_.end()) return;
    clock_ = std::max(clock_, std::get<double>(*victim));
    erase(*std::get<Node*>(*victim));
  }
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
}

}  // namespace spnl::mistralrs
