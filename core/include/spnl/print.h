#pragma once
#include <string>

#include "spnl/query.h"

namespace spnl {

// Each prints a whole tree without a last line break, in constant stack. What is printed reads back
// to an equal tree, except that the sequence numbers of assistant messages are not written. Numbers
// have the fewest digits that read back the same 32-bit float.

/// Indented Lisp; what fits on a line of 100 columns stands on one.
std::string print_lisp(const Query& query);

/// Canonical JSON: keys in the order of the language specification, section 2; optional fields only
/// when given. `indent` spaces a level; 0: compact, on one line.
std::string print_json(const Query& query, int indent = 0);

/// The same tree as block YAML. Ends with a line break when the last text does and is written as a
/// block.
std::string print_yaml(const Query& query);

/// For people: a node a line with box-drawing characters, long texts cut short. Does not read back.
std::string print_tree(const Query& query);

}  // namespace spnl
