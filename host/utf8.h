#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace spnl::host {

/// Offset of the first byte that is not part of a well-formed UTF-8 character (RFC 3629: no
/// surrogates, no overlong forms, at most U+10FFFF); npos when there is none.
size_t first_invalid_utf8(std::string_view text);

/// Length in bytes of the well-formed character that `text` begins with; 0 when there is none.
size_t decode_utf8(std::string_view text, uint32_t& code_point);

/// `code_point` (a Unicode scalar value) in UTF-8.
std::string encode_utf8(uint32_t code_point);

/// `text` with U+FFFD for each byte that is not part of a well-formed character.
std::string replace_invalid_utf8(std::string_view text);

/// `text` without what would steer a terminal: control characters other than newline and tab become
/// U+FFFD.
std::string without_controls(std::string_view text);

/// The same for one line, whatever a file name, a model or a plugin put into it: line breaks and
/// tabs become spaces, those at the end are dropped, bytes that are no UTF-8 become U+FFFD.
std::string on_one_line(std::string_view text);

}  // namespace spnl::host
