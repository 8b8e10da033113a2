#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// Small helpers for text that people write and read. All are pure.
namespace spnl::text {

/// Byte offset of the first byte that is not part of valid UTF-8 (no overlong forms, no
/// surrogates), else npos.
size_t first_invalid_utf8(std::string_view text);

/// Appends the UTF-8 of `code_point` (at most 0x10FFFF, no surrogate).
void append_utf8(std::string& text, uint32_t code_point);

/// The bytes of the character that starts at `offset` of valid UTF-8.
std::string_view character_at(std::string_view text, size_t offset);

/// Characters (code points) of valid UTF-8.
size_t count(std::string_view text);

/// `text` in double quotes, escaped as JSON does.
std::string quote_json(std::string_view text);

/// For messages: in single quotes, control characters escaped, cut after `limit` characters.
std::string quote(std::string_view text, size_t limit = 40);

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (restricted
/// Damerau-Levenshtein).
size_t edit_distance(std::string_view a, std::string_view b);

/// Those of `known` that somebody who wrote `name` may have meant, nearest first, at most three.
std::vector<std::string> near_names(std::string_view name, const std::vector<std::string>& known);

/// "did you mean 'a' or 'b'?", or empty when nothing is near.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& known);

}  // namespace spnl::text
