#pragma once
#include <cstdint>
#include <memory>

namespace spnl::mistralrs {

/// A block of the device's memory from libtorch's allocator, 64-byte aligned, not initialised:
/// pages are not touched, so a large pool costs what is used of it. Shared ownership; the last copy
/// frees it.
struct Memory {
  void* data = nullptr;
  uint64_t bytes = 0;
  std::shared_ptr<void> owner;

  float* floats() const { return static_cast<float*>(data); }
};

/// Throws modelkit::Error(kNoMemory) naming `purpose` and the size.
Memory allocate(uint64_t bytes, const char* purpose);

/// Gives the pages that lie wholly in [data, data + bytes) of such a block back to the system; what
/// was in them is lost.
void discard_pages(void* data, uint64_t bytes);

}  // namespace spnl::mistralrs
