#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "spnl/evaluator.h"

namespace spnl::evaluator {

/// A node of the query with its place in the tree and, while evaluating, its progress.
struct Task {
  const Query* query = nullptr;
  uint32_t parent = 0, slot = 0;              ///< slot: index among the parent's children
  uint32_t first_child = 0, child_count = 0;  ///< children lie side by side
  uint32_t done = 0;                          ///< children that are evaluated
  uint64_t hash = 0;                          ///< of the path, for seeds
  std::optional<Query> result;                ///< empty: not evaluated yet, or yields nothing
};

/// A query as an array of tasks, the root first. Borrows the query.
struct Plan {
  explicit Plan(const Query& query);
  std::vector<Task> tasks;

  std::string path(uint32_t task) const;   ///< "0.2", "root"
  std::string where(uint32_t task) const;  ///< "node 0.2, line 3, column 5"
};

/// Name, sampling and number of samples of a generate or repeat task, name and sampling of a map;
/// null for others.
struct ModelUse {
  const std::string* model = nullptr;
  const Sampling* sampling = nullptr;
  uint32_t samples = 1;
};
std::optional<ModelUse> model_use(const Query& query);

/// What can be refused before anything runs: generates without a model, retrieval, questions
/// without an answer. Returns the answers to the questions.
std::map<std::string, std::string> check(const Plan& plan, const EvaluateOptions& options);

}  // namespace spnl::evaluator
