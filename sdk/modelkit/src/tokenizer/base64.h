#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace spnl::modelkit {

/// RFC 4648; nullopt when `text` is no base64. Padding may be missing.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace spnl::modelkit
