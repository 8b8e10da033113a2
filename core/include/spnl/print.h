#pragma once
#include <string>

#include "spnl/query.h"

namespace spnl {

/// `query` as indented Lisp, without a last line break. Reads back to an equal tree, except that the sequence numbers of
/// assistant messages are not written, and that an augment (whose document has no spelling) is shown by its name only.
std::string print_lisp(const Query& query);

}  // namespace spnl
