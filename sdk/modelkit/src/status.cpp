#include "spnl/modelkit/status.h"

#include "spnl/modelkit/error.h"

namespace spnl::modelkit {

spnl_status status_of(const std::exception& error) noexcept {
  const auto* known = dynamic_cast<const Error*>(&error);
  if (known == nullptr) return SPNL_INTERNAL;
  switch (known->code()) {
    case ErrorCode::kInvalid:
      return SPNL_INVALID;
    case ErrorCode::kNotFound:
      return SPNL_NOT_FOUND;
    case ErrorCode::kUnsupported:
      return SPNL_UNSUPPORTED;
    case ErrorCode::kIo:
      return SPNL_IO;
    case ErrorCode::kCorrupt:
      return SPNL_CORRUPT;
    case ErrorCode::kNoMemory:
      return SPNL_NO_MEMORY;
  }
  return SPNL_INTERNAL;
}

}  // namespace spnl::modelkit
