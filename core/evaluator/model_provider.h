#pragma once
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "spnl/evaluator.h"

namespace spnl::evaluator {

/// What an evaluation needs of the backends; tests script it. Methods may be called from any
/// thread.
class ModelProvider {
 public:
  virtual ~ModelProvider() = default;
  virtual std::shared_ptr<Model> load(const std::string& name, const LoadOptions& options,
                                      std::stop_token stop) = 0;
  virtual std::vector<std::string> capabilities(const std::string& name) const = 0;
};

/// See spnl::evaluate.
Query evaluate(const Query& query, ModelProvider& provider, const EvaluateOptions& options,
               Observer& observer, std::stop_token stop);

}  // namespace spnl::evaluator
