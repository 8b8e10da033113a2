#pragma once
#include "spnl/backends.h"
#include "spnl/query.h"

namespace spnl::evaluator {

/// The prompt of a generate whose evaluated input is `input`: messages in order; the children of a
/// plus stay an independent group, everything else is ordered (language specification,
/// section 6.2).
Prompt build_prompt(const Query& input);

/// Whether a group in it is independent.
bool has_independent(const Prompt& prompt);

/// The prompt that asks one thing; empty for an empty text.
Prompt user_prompt(const std::string& text);

}  // namespace spnl::evaluator
