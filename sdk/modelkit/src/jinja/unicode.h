#pragma once
// UTF-8 strings seen as Python sees them: sequences of code points with Unicode categories and
// case.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace spnl::modelkit::jinja {

struct Str;

bool is_ascii(std::string_view s);
bool is_valid_utf8(std::string_view s);  ///< no surrogates, no overlong forms
size_t char_count(const Str& s);
size_t char_count(std::string_view s);

/// Decodes the code point at `pos` of valid UTF-8 and moves `pos` past it.
char32_t next_char(std::string_view s, size_t& pos);
void append_char(std::string& out, char32_t c);
size_t char_bytes(char lead);  ///< length of the sequence that starts with this byte
std::u32string decode(std::string_view s);
std::string encode(std::u32string_view s);

bool is_alpha(char32_t c);
bool is_decimal(char32_t c);
bool is_digit(char32_t c);
bool is_numeric(char32_t c);
bool is_alnum(char32_t c);
bool is_space(char32_t c);
bool is_lower(char32_t c);
bool is_upper(char32_t c);
bool is_title(char32_t c);
bool is_cased(char32_t c);
bool is_printable(char32_t c);
bool is_line_break(char32_t c);  ///< what str.splitlines() splits at

std::string to_upper(std::string_view s);
std::string to_lower(std::string_view s);
std::string to_title(std::string_view s);        ///< str.title()
std::string to_capitalized(std::string_view s);  ///< str.capitalize()
std::string swap_case(std::string_view s);

/// Removes white space (or, when `chars` is given, any of those characters) at the chosen ends.
std::string_view strip(std::string_view s, bool left, bool right,
                       const std::string_view* chars = nullptr);

}  // namespace spnl::modelkit::jinja
