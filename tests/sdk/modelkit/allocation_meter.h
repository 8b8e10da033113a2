#pragma once
/// Counts the memory that a program has allocated. Include it in one source file of a program: it
/// replaces malloc, which operator new uses too. The sanitizers have an allocator of their own;
/// with them nothing is counted, and every peak is 0.
#include <malloc.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace spnl::test {

class AllocationMeter {
 public:
  /// From here on.
  static void reset() { peak_ = start_ = live_.load(); }
  /// The most bytes in use at once since reset(), beyond those in use then.
  static size_t peak() {
    const int64_t bytes = peak_ - start_;
    return bytes > 0 ? static_cast<size_t>(bytes) : 0;
  }

  static void allocated(void* memory) {
    if (memory == nullptr) return;
    const int64_t now = live_ += static_cast<int64_t>(malloc_usable_size(memory));
    int64_t seen = peak_;
    while (now > seen && !peak_.compare_exchange_weak(seen, now)) {
    }
  }
  static void freed(void* memory) {
    if (memory != nullptr) live_ -= static_cast<int64_t>(malloc_usable_size(memory));
  }

 private:
  static inline std::atomic<int64_t> live_{0}, peak_{0}, start_{0};
};

}  // namespace spnl::test

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

void* malloc(size_t bytes) {
  void* const memory = __libc_malloc(bytes);
  spnl::test::AllocationMeter::allocated(memory);
  return memory;
}
void* calloc(size_t n, size_t bytes) {
  void* const memory = __libc_calloc(n, bytes);
  spnl::test::AllocationMeter::allocated(memory);
  return memory;
}
void* realloc(void* old, size_t bytes) {
  void* const memory = __libc_malloc(bytes);  // both count while one is copied into the other
  spnl::test::AllocationMeter::allocated(memory);
  if (memory != nullptr && old != nullptr) {
    const size_t kept = malloc_usable_size(old);
    __builtin_memcpy(memory, old, kept < bytes ? kept : bytes);
    spnl::test::AllocationMeter::freed(old);
    __libc_free(old);
  }
  return memory;
}
void* aligned_alloc(size_t alignment, size_t bytes) {
  void* const memory = __libc_memalign(alignment, bytes);
  spnl::test::AllocationMeter::allocated(memory);
  return memory;
}
void free(void* memory) {
  spnl::test::AllocationMeter::freed(memory);
  __libc_free(memory);
}
}
#endif
