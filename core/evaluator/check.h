#pragma once
#include <map>
#include <string>

#include "optimizer/node_table.h"
#include "spnl/evaluator.h"

namespace spnl::evaluator {

/// Refuses what cannot run before anything does: generates without a model, retrieval, questions
/// without an answer. Returns the answers to the questions.
std::map<std::string, std::string> check(const NodeTable& table, const EvaluateOptions& options);

}  // namespace spnl::evaluator
