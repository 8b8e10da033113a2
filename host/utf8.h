#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace spnl::host {

/// Offset of the first byte that is not part of a well-formed UTF-8 character (RFC 3629: no
/// surrogates, no overlong forms, at most U+10FFFF); npos when there is none.
size_t first_invalid_utf8(std::string_view text);

/// `text` with U+FFFD for each byte that is not part of a well-formed character.
std::string replace_invalid_utf8(std::string_view text);

/// `text` without what would steer a terminal: control characters other than newline and tab become
/// U+FFFD.
std::string without_controls(std::string_view text);

}  // namespace spnl::host
