#include "ops/memory.h"

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

}  // namespace spnl::mistralrs
