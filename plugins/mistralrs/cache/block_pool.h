#pragma once
#include <cstdint>
#include <optional>
#include <vector>

namespace spnl::mistralrs {

/// Who uses which block: reference counts over block numbers 0..size-1, no memory of its own. Not
/// thread-safe: for who has the engine's turn.
class BlockPool {
 public:
  explicit BlockPool(int32_t blocks);

  int32_t size() const { return static_cast<int32_t>(references_.size()); }
  int32_t free_blocks() const { return static_cast<int32_t>(free_.size()); }
  int32_t used_blocks() const { return size() - free_blocks(); }

  /// A block with one reference, the most recently freed first (its pages are touched already);
  /// empty: none is free.
  std::optional<int32_t> take();
  void add_reference(int32_t block) { ++references_[static_cast<size_t>(block)]; }
  void drop_reference(int32_t block);
  int32_t references(int32_t block) const { return references_[static_cast<size_t>(block)]; }

 private:
  std::vector<int32_t> references_;
  std::vector<int32_t> free_;  // a stack
};

}  // namespace spnl::mistralrs
