#pragma once
#include <memory>
#include <string_view>

#include "jinja/value.h"

namespace spnl::modelkit::jinja {

/// Reads the object that holds a rendering's variables. Order of members is kept; of duplicates the
/// last value wins, in the place of the first, as in Python. Fails with the offset in the message.
std::shared_ptr<Dict> parse_input(std::string_view json);

}  // namespace spnl::modelkit::jinja
