#include "ops/cpu/weight_memory.h"

#include <algorithm>
#include <string>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "spnl/modelkit/error.h"

namespace spnl::mistralrs::cpu {
namespace {

constexpr uint64_t kHugePage = uint64_t{2} << 20;

uint64_t round_up(uint64_t bytes, uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

AlignedBytes allocate_aligned(uint64_t bytes) {
  const bool huge = bytes >= kHugePage;
  void* p = nullptr;
  if (bytes > SIZE_MAX / 2 || posix_memalign(&p, huge ? kHugePage : 64, bytes) != 0) {
    throw modelkit::Error(modelkit::ErrorCode::kNoMemory,
                          "cannot allocate " + std::to_string(bytes) + " bytes for a matrix");
  }
#if defined(__linux__)
  // A wish. Only whole huge pages, which do not grow resident memory.
  if (huge) (void)madvise(p, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return AlignedBytes(static_cast<uint8_t*>(p));
}

std::shared_ptr<uint8_t> WeightMemory::take(uint64_t bytes) {
  if (piece_ == nullptr || size_ - used_ < bytes) {
    // What is left of the last piece was never touched, so it costs addresses only.
    uint64_t size = std::max(bytes, piece_bytes_);
    if (size > kHugePage && size <= SIZE_MAX / 2) size = round_up(size, kHugePage);
    piece_ = allocate_aligned(size);
    size_ = size;
    used_ = 0;
  }
  const std::shared_ptr<uint8_t> taken(piece_, piece_.get() + used_);
  used_ = std::min(size_, round_up(used_ + bytes, 64));
  return taken;
}

}  // namespace spnl::mistralrs::cpu
