#pragma once
#include <string>
#include <utility>
#include <vector>

#include "jinja/value.h"

namespace spnl::modelkit::jinja {

/// range, dict, namespace, cycler, joiner, raise_exception, strftime_now.
std::vector<std::pair<std::string, Value>> global_functions();

}  // namespace spnl::modelkit::jinja
