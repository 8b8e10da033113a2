#include "ops/torch_errors.h"

#include <string>
#include <string_view>

#include "ops/torch_pch.h"
#include "spnl/backend.hpp"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/status.h"

namespace spnl::mistralrs {
void rethrow_as_failure() {
  try {
    throw;
  } catch (const modelkit::Error& e) {
    throw abi::Failure(modelkit::status_of(e), e.what());
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
