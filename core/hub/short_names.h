#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace spnl::hub {

/// The repository that a short name ("smollm2:135m") stands for; section 10 of the language
/// specification.
std::optional<std::string> short_name_repository(std::string_view name);

/// Short names that look like `name`, best first, at most three.
std::vector<std::string> near_short_names(std::string_view name);

}  // namespace spnl::hub
