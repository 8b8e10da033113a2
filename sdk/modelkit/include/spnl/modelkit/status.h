#pragma once
#include <exception>

#include "spnl/backend.h"

namespace spnl::modelkit {

/// The ABI's status for an exception: that of an Error's code, SPNL_INTERNAL for anything else. A translator for
/// abi::guard().
spnl_status status_of(const std::exception& error) noexcept;

}  // namespace spnl::modelkit
