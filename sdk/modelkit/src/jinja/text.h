#pragma once
// Splitting, replacing and padding of text, shared by filters and methods.
#include <string>
#include <string_view>
#include <vector>

namespace spnl::modelkit::jinja {

/// `max` splits at most (negative: no limit), from the right when `right`. Parts view into `s`.
std::vector<std::string_view> split_space(std::string_view s, int64_t max, bool right);
std::vector<std::string_view> split_text(std::string_view s, std::string_view sep, int64_t max,
                                         bool right);
std::vector<std::string_view> split_lines(std::string_view s, bool keep_ends = false);
std::string replace_text(std::string_view s, std::string_view from, std::string_view to,
                         int64_t count);
std::string justified(const std::string& s, int64_t width, const std::string& fill, char align);
bool has_case(std::string_view s, bool upper);  ///< str.isupper() or str.islower()

}  // namespace spnl::modelkit::jinja
