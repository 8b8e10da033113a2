#pragma once
#include <string>

#include "optimizer/share.h"

namespace spnl {

/// The prompt of a generate as far as it is known before anything runs, in one line, cut short.
std::string preview_prompt(const NodeTable& table, GenerateUnit unit);

}  // namespace spnl
