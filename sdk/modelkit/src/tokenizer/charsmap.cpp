#include "tokenizer/charsmap.h"

#include <cstring>

#include "spnl/modelkit/error.h"

namespace spnl::modelkit {

Charsmap::Charsmap(std::string_view blob) : blob_(blob) {
  uint32_t bytes = 0;
  if (blob.size() >= sizeof bytes) std::memcpy(&bytes, blob.data(), sizeof bytes);
  if (blob.size() < sizeof bytes || bytes % 4 != 0 || bytes > blob.size() - sizeof bytes) {
    throw Error(ErrorCode::kCorrupt, "tokenizer: precompiled_charsmap of " +
                                         std::to_string(blob.size()) +
                                         " bytes says that its trie has " + std::to_string(bytes));
  }
  units_ = bytes / 4;
}

uint32_t Charsmap::unit(size_t index) const {
  uint32_t value = 0;
  if (index < units_) std::memcpy(&value, blob_.data() + 4 + 4 * index, sizeof value);
  return value;
}

// darts-clone: a unit holds a label, whether a value stands at its children, and where those are.
std::optional<Charsmap::Match> Charsmap::find(std::string_view text, bool longest) const {
  const auto offset = [](uint32_t u) { return (u >> 10) << ((u & (1u << 9)) >> 6); };
  std::optional<Match> found;
  size_t node = offset(unit(0));
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    const uint32_t here = unit(node);
    if (byte == 0 || (here & (0x80000000u | 0xFF)) != byte) break;
    node ^= offset(here);
    if ((here & 0x100) == 0) continue;
    const std::string_view pool = std::string_view(blob_).substr(4 + 4 * units_);
    const size_t begin = unit(node) & 0x7FFFFFFF;
    if (begin >= pool.size()) break;
    const std::string_view rest = pool.substr(begin);
    found = Match{i + 1, rest.substr(0, rest.find('\0'))};
    if (!longest) break;
  }
  return found;
}

}  // namespace spnl::modelkit
