#pragma once
#include <string>
#include <string_view>

namespace spnl::hub {

/// Text from outside, safe inside a one-line message: control characters and bytes that are no
/// UTF-8 become \xNN, and what exceeds `limit` bytes is cut.
std::string printable(std::string_view text, size_t limit = 400);

}  // namespace spnl::hub
