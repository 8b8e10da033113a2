#include "ops/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "ops/torch_pch.h"
#include "spnl/modelkit/error.h"

namespace spnl::mistralrs {

Memory allocate(uint64_t bytes, const char* purpose) {
  try {
    auto tensor = std::make_shared<at::Tensor>(at::empty({static_cast<int64_t>(bytes)}, at::kByte));
    void* data = tensor->data_ptr();
    return {data, bytes, std::move(tensor)};
  } catch (const c10::Error&) {
    throw modelkit::Error(
        modelkit::ErrorCode::kNoMemory,
        "no memory for " + std::string(purpose) + ": " + std::to_string(bytes >> 20) + " MiB");
  }
}

void discard_pages(void* data, uint64_t bytes) {
  static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(data);
  const uintptr_t begin = (address + page - 1) / page * page, end = (address + bytes) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace spnl::mistralrs
