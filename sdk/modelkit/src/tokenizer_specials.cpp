#include "tokenizer_specials.h"

#include <algorithm>

namespace spnl::modelkit {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Does [begin, end) touch one of the ranges? `next` only moves forward: begin never decreases.
bool touches(std::span<const TextRange> ranges, size_t& next, size_t begin, size_t end) {
  while (next < ranges.size() && ranges[next].end <= begin) ++next;
  for (size_t i = next; i < ranges.size() && ranges[i].begin < end; ++i) {
    if (ranges[i].end > begin && ranges[i].end > ranges[i].begin) return true;
  }
  return false;
}

}  // namespace

SpecialMatcher::SpecialMatcher(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {
  std::vector<int32_t> ids;
  constexpr uint8_t kSpecial =
      Vocabulary::kControl | Vocabulary::kUserDefined | Vocabulary::kUnknown;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    if ((vocabulary.flags(id) & kSpecial) != 0 && !vocabulary.text(id).empty()) ids.push_back(id);
  }
  std::stable_sort(ids.begin(), ids.end(),
                   [&](int32_t a, int32_t b) { return vocabulary.text(a) < vocabulary.text(b); });

  // Breadth first over the sorted list: each node is a range of ids that share `depth` bytes.
  struct Open {
    size_t begin, end, depth;
  };
  std::vector<Open> open{{0, ids.size(), 0}};
  nodes_.push_back({0, 0, -1});
  for (size_t n = 0; n < open.size(); ++n) {
    auto [begin, end, depth] = open[n];
    if (begin < end && vocabulary.text(ids[begin]).size() == depth) {
      nodes_[n].token = ids[begin];
      while (begin < end && vocabulary.text(ids[begin]).size() == depth) ++begin;
    }
    nodes_[n].first_edge = static_cast<uint32_t>(edges_.size());
    while (begin < end) {
      const char byte = vocabulary.text(ids[begin])[depth];
      size_t stop = begin;
      while (stop < end && vocabulary.text(ids[stop])[depth] == byte) ++stop;
      edges_.push_back({static_cast<unsigned char>(byte), static_cast<uint32_t>(nodes_.size())});
      nodes_.push_back({0, 0, -1});
      open.push_back({begin, stop, depth + 1});
      begin = stop;
    }
    nodes_[n].edge_count = static_cast<uint32_t>(edges_.size()) - nodes_[n].first_edge;
  }
  for (uint32_t i = 0; i < nodes_[0].edge_count; ++i) root_[edges_[i].byte] = edges_[i].node;
}

uint32_t SpecialMatcher::child(uint32_t node, unsigned char byte) const {
  const Edge* const first = edges_.data() + nodes_[node].first_edge;
  const Edge* const last = first + nodes_[node].edge_count;
  const Edge* const found = std::lower_bound(
      first, last, byte, [](const Edge& edge, unsigned char b) { return edge.byte < b; });
  return found != last && found->byte == byte ? found->node : 0;
}

std::vector<SpecialMatcher::Part> SpecialMatcher::split(std::string_view text, bool parse_special,
                                                        std::span<const TextRange> literal) const {
  std::vector<Part> parts;
  size_t plain = 0, next_literal = 0, at = 0;
  while (at < text.size()) {
    uint32_t node = root_[static_cast<unsigned char>(text[at])];
    int32_t best = -1;
    size_t best_end = at;
    for (size_t end = at + 1; node != 0; ++end) {
      const int32_t token = nodes_[node].token;
      if (token >= 0) {
        const uint8_t flags = vocabulary_.flags(token);
        const bool always = (flags & (Vocabulary::kControl | Vocabulary::kUnknown)) == 0;
        if (always || (parse_special && !touches(literal, next_literal, at, end))) {
          best = token;
          best_end = end;
        }
      }
      if (end == text.size()) break;
      node = child(node, static_cast<unsigned char>(text[end]));
    }
    if (best < 0) {
      ++at;
      continue;
    }
    if (at > plain) parts.push_back({plain, at, -1});
    parts.push_back({at, best_end, best});
    at = best_end;
    if ((vocabulary_.flags(best) & Vocabulary::kStripRight) != 0) {
      while (at < text.size() && is_space(text[at])) ++at;
    }
    plain = at;
  }
  if (text.size() > plain) parts.push_back({plain, text.size(), -1});
  return parts;
}

}  // namespace spnl::modelkit
