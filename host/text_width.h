#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace spnl::host {

/// Columns that a terminal gives to `text` (valid UTF-8 without control characters): two for wide
/// characters, none for combining ones, by the C library's table. Never too few where that table is
/// missing.
size_t display_width(std::string_view text);

/// `text` cut to at most `columns`, with "…" at its end where something was cut.
std::string cut_to_width(std::string_view text, size_t columns);

/// The end of `text`, as much of it as fits into `columns`.
std::string_view tail_of_width(std::string_view text, size_t columns);

}  // namespace spnl::host
