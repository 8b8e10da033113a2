#pragma once
#include <string>

#include "optimizer/share.h"

namespace spnl {

/// The prompt of a generate as far as it is known before anything runs, in one line, cut short.
std::string preview_prompt(const NodeTable& table, GenerateUnit unit);

/// What is said of a generate that another serves, and of samples that must be alike.
std::string shared_note(const std::string& node, const std::string& same_as);
std::string alike_note(const std::string& node, uint32_t samples);

}  // namespace spnl
