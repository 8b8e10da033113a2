#pragma once
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace spnl::modelkit {

/// Texts by their bytes, for walking along another text. Const after construction.
class ByteTrie {
 public:
  /// Texts that are not empty, with values of 0 and up; of equal texts the first counts.
  explicit ByteTrie(std::vector<std::pair<std::string_view, int32_t>> texts);

  /// Node 0 is the root, and stands for "no such node" as a result.
  uint32_t child(uint32_t node, unsigned char byte) const {
    return node == 0 ? root_[byte] : find_child(node, byte);
  }
  int32_t value(uint32_t node) const { return nodes_[node].value; }  ///< -1: no text ends here

 private:
  /// Nodes stand in the order of breadth, so that edge e leads to node e + 1, and the edges of a
  /// node end where those of the next begin.
  struct Node {
    uint32_t first_edge;
    int32_t value;
  };
  uint32_t find_child(uint32_t node, unsigned char byte) const;

  uint32_t root_[256] = {};
  std::vector<Node> nodes_;           // and one more, for the end of the last one's edges
  std::vector<unsigned char> edges_;  // bytes; of one node together, in their order
};

}  // namespace spnl::modelkit
