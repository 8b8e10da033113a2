#pragma once
#include "spnl/query.h"

/// The algebra of lists (language specification, section 4), shared by the rewriting of queries and
/// of results. In a tree that is being simplified an empty seq is what has vanished.
namespace spnl::algebra {

/// True for what has vanished.
bool is_nothing(const Query& query);

/// Whether simplifying `parent` takes the children of its child `child` into its own list.
bool joins(const Query& parent, const Query& child, bool last);

/// Rules 1 to 5 and 7 for one node whose children are simplified already: drops a message without
/// text, joins lists of lists, opens lists of one. Other nodes stay. With `parent_joins` a list is
/// left for its parent to take apart, so that a chain of lists is gathered once and not at every
/// level.
void simplify_node(Query& query, bool parent_joins = false);

}  // namespace spnl::algebra
