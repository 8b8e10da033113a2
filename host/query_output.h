#pragma once
#include <string>

#include "args.h"
#include "spnl/query.h"

namespace spnl::host {

enum class QueryForm { kLisp, kJson, kYaml, kTree };

/// What --to and --json ask for; Lisp without them. Throws Error(kUsage).
QueryForm query_form(const Arguments& args);

/// `query` in that form, with a last line break.
std::string query_text(const Query& query, QueryForm form);

}  // namespace spnl::host
