#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace spnl::mistralrs::cpu {

struct FreeDeleter {
  void operator()(uint8_t* p) const noexcept { std::free(p); }
};
using AlignedBytes = std::unique_ptr<uint8_t, FreeDeleter>;

/// 64-byte aligned, large ones on huge pages where the system allows. Throws
/// modelkit::Error(kNoMemory).
AlignedBytes allocate_aligned(uint64_t bytes);

/// Memory of many matrices, handed out one after the other from large pieces on huge pages: a step
/// reads all weights once, and on small pages every 4 KB of that wait for a walk of the page table.
/// One caller at a time.
class WeightMemory {
 public:
  explicit WeightMemory(uint64_t piece_bytes = uint64_t{64} << 20) : piece_bytes_(piece_bytes) {}
  /// 64-byte aligned, not initialised; keeps its piece alive. Throws modelkit::Error(kNoMemory).
  std::shared_ptr<uint8_t> take(uint64_t bytes);

 private:
  const uint64_t piece_bytes_;  ///< unless more is taken at once
  std::shared_ptr<uint8_t> piece_;
  uint64_t size_ = 0, used_ = 0;  ///< of the piece
};

}  // namespace spnl::mistralrs::cpu
