#include "tokenizer/byte_trie.h"

#include <algorithm>
#include <deque>

namespace spnl::modelkit {

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, int32_t>> texts) {
  std::stable_sort(texts.begin(), texts.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  size_t count = 1;  // of nodes: one for each byte that a text does not share with its neighbour
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string_view text = texts[i].first;
    const std::string_view before = i == 0 ? std::string_view() : texts[i - 1].first;
    count += static_cast<size_t>(
        text.end() - std::mismatch(text.begin(), text.end(), before.begin(), before.end()).first);
  }
  nodes_.reserve(count + 1);
  edges_.reserve(count);
  // Breadth first over the sorted list: each node is a range of texts that share `depth` bytes.
  struct Open {
    uint32_t begin, end, depth;
  };
  std::deque<Open> open{{0, static_cast<uint32_t>(texts.size()), 0}};
  for (; !open.empty(); open.pop_front()) {
    auto [begin, end, depth] = open.front();
    const auto text = [&](uint32_t i) { return texts[i].first; };
    Node node{static_cast<uint32_t>(edges_.size()), -1};
    if (begin < end && text(begin).size() == depth) {
      if (depth > 0) node.value = texts[begin].second;
      while (begin < end && text(begin).size() == depth) ++begin;
    }
    nodes_.push_back(node);
    while (begin < end) {
      const char byte = text(begin)[depth];
      uint32_t stop = begin;
      while (stop < end && text(stop)[depth] == byte) ++stop;
      edges_.push_back(static_cast<unsigned char>(byte));
      open.push_back({begin, stop, depth + 1});
      begin = stop;
    }
  }
  nodes_.push_back({static_cast<uint32_t>(edges_.size()), -1});
  for (uint32_t edge = 0; edge < nodes_[1].first_edge; ++edge) root_[edges_[edge]] = edge + 1;
}

uint32_t ByteTrie::find_child(uint32_t node, unsigned char byte) const {
  const unsigned char* const first = edges_.data() + nodes_[node].first_edge;
  const unsigned char* const last = edges_.data() + nodes_[node + 1].first_edge;
  const unsigned char* const found = std::lower_bound(first, last, byte);
  return found != last && *found == byte ? static_cast<uint32_t>(found - edges_.data()) + 1 : 0;
}

}  // namespace spnl::modelkit
