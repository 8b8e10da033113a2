#pragma once
#include <optional>
#include <vector>

#include "spnl/query.h"

namespace spnl::evaluator {

/// The simplified result of a seq, cross, plus or par `node` (its children are ignored) whose
/// children yielded `results`, each simplified already. Nothing when nothing is left (language
/// specification, sections 4 and 6). A plus of one stays: in a prompt it marks what is independent.
/// `parent_joins`: see algebra::simplify_node.
std::optional<Query> join(const Query& node, QueryList results, bool parent_joins = false);

/// The simplified message, or nothing when its text is empty.
std::optional<Query> message(Query query);

/// Second's list with first before each element (section 6.4). Throws Error(kEvaluation) with
/// `where` when that would be too much.
std::optional<Query> zip(std::optional<Query> first, std::optional<Query> second,
                         SourcePosition position, const std::string& where);

/// The result of a whole query: a plus of one yields its child (section 1).
Query as_shown(Query result);

}  // namespace spnl::evaluator
