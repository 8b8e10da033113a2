#pragma once
#include <string_view>

#include "jinja/value.h"

namespace spnl::modelkit::jinja {

using TestFn = bool (*)(Runtime&, const Value& v, Args&);
TestFn find_test(std::string_view name);  ///< null when there is none

}  // namespace spnl::modelkit::jinja
