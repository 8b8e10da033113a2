#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "tokenizer_vocab.h"

namespace spnl::modelkit {

/// Finds control and user-defined tokens spelled in a text: leftmost first, of those the longest,
/// as the models' own tokenizers do. Const after construction.
class SpecialMatcher {
 public:
  explicit SpecialMatcher(const Vocabulary& vocabulary);

  struct Part {
    size_t begin, end;  ///< bytes of the text
    int32_t token;      ///< -1: plain text
  };
  /// Cuts `text` into plain stretches and tokens, in order; bytes that a token strips belong to no
  /// part. Control tokens count when `parse_special`, and only where they touch no range of
  /// `literal`; user-defined ones always.
  std::vector<Part> split(std::string_view text, bool parse_special,
                          std::span<const TextRange> literal) const;

 private:
  struct Node {
    uint32_t first_edge, edge_count;
    int32_t token;
  };
  struct Edge {
    unsigned char byte;
    uint32_t node;
  };
  uint32_t child(uint32_t node, unsigned char byte) const;

  const Vocabulary& vocabulary_;
  uint32_t root_[256] = {};  // 0: none
  std::vector<Node> nodes_;
  std::vector<Edge> edges_;  // of one node together, by byte
};

}  // namespace spnl::modelkit
