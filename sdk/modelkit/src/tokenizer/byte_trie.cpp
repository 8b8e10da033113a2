#include "tokenizer/byte_trie.h"

#include <algorithm>

namespace spnl::modelkit {

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, int32_t>> texts) {
  std::stable_sort(texts.begin(), texts.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  // Breadth first over the sorted list: each node is a range of texts that share `depth` bytes.
  struct Open {
    uint32_t begin, end, depth;
  };
  std::vector<Open> open{{0, static_cast<uint32_t>(texts.size()), 0}};
  nodes_.push_back({0, 0, -1});
  for (size_t n = 0; n < open.size(); ++n) {
    auto [begin, end, depth] = open[n];
    const auto text = [&](uint32_t i) { return texts[i].first; };
    if (begin < end && text(begin).size() == depth) {
      if (depth > 0) nodes_[n].value = texts[begin].second;
      while (begin < end && text(begin).size() == depth) ++begin;
    }
    nodes_[n].first_edge = static_cast<uint32_t>(edges_.size());
    while (begin < end) {
      const char byte = text(begin)[depth];
      uint32_t stop = begin;
      while (stop < end && text(stop)[depth] == byte) ++stop;
      edges_.push_back({static_cast<unsigned char>(byte), static_cast<uint32_t>(nodes_.size())});
      nodes_.push_back({0, 0, -1});
      open.push_back({begin, stop, depth + 1});
      begin = stop;
    }
    nodes_[n].edge_count = static_cast<uint32_t>(edges_.size()) - nodes_[n].first_edge;
  }
  for (uint32_t i = 0; i < nodes_[0].edge_count; ++i) root_[edges_[i].byte] = edges_[i].node;
}

uint32_t ByteTrie::find_child(uint32_t node, unsigned char byte) const {
  const Edge* const first = edges_.data() + nodes_[node].first_edge;
  const Edge* const last = first + nodes_[node].edge_count;
  const Edge* const found = std::lower_bound(
      first, last, byte, [](const Edge& edge, unsigned char b) { return edge.byte < b; });
  return found != last && found->byte == byte ? found->node : 0;
}

}  // namespace spnl::modelkit
