#include "ops/torch_errors.h"

#include <string>
#include <string_view>

#include "ops/torch_pch.h"
#include "spnl/backend.hpp"
#include "spnl/modelkit/error.h"

namespace spnl::mistralrs {
namespace {

spnl_status status_of(modelkit::ErrorCode code) {
  switch (code) {
    case modelkit::ErrorCode::kInvalid:
      return SPNL_INVALID;
    case modelkit::ErrorCode::kNotFound:
      return SPNL_NOT_FOUND;
    case modelkit::ErrorCode::kUnsupported:
      return SPNL_UNSUPPORTED;
    case modelkit::ErrorCode::kIo:
      return SPNL_IO;
    case modelkit::ErrorCode::kCorrupt:
      return SPNL_CORRUPT;
    case modelkit::ErrorCode::kNoMemory:
      return SPNL_NO_MEMORY;
  }
  return SPNL_INTERNAL;
}

}  // namespace

void rethrow_as_failure() {
  try {
    throw;
  } catch (const modelkit::Error& e) {
    throw abi::Failure(status_of(e.code()), e.what());
  } catch (const c10::Error& e) {
    const std::string_view text = e.what_without_backtrace();
    const bool memory = dynamic_cast<const c10::OutOfMemoryError*>(&e) != nullptr ||
                        text.find("not enough memory") != text.npos ||
                        text.find("t allocate memory") != text.npos;
    throw abi::Failure(memory ? SPNL_NO_MEMORY : SPNL_INTERNAL,
                       "libtorch: " + std::string(text.substr(0, text.find('\n'))));
  }
}

}  // namespace spnl::mistralrs
