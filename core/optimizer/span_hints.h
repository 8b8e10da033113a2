#pragma once
#include <string>
#include <vector>

#include "optimizer/node_table.h"
#include "spnl/optimizer.h"

namespace spnl {

/// What a person should know about how the independent groups of a query's prompts will be
/// evaluated: what another mode would save, what a mode that was asked for may cost.
std::vector<std::string> span_hints(const NodeTable& table, const CapabilitiesOf& capabilities,
                                    const EvaluateOptions& options);

}  // namespace spnl
