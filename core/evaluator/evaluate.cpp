#include "evaluator/model_provider.h"

namespace spnl {
namespace {

class BackendsProvider final : public evaluator::ModelProvider {
 public:
  explicit BackendsProvider(Backends& backends) : backends_(backends) {}
  std::shared_ptr<Model> load(const std::string& name, const LoadOptions& options,
                              std::stop_token stop) override {
    return backends_.load(name, options, std::move(stop));
  }
  std::vector<std::string> capabilities(const std::string& name) const override {
    return backends_.capabilities(name);
  }

 private:
  Backends& backends_;
};

}  // namespace

Query evaluate(const Query& query, Backends& backends, const EvaluateOptions& options,
               Observer& observer, std::stop_token stop) {
  BackendsProvider provider(backends);
  return evaluator::evaluate(query, provider, options, observer, std::move(stop));
}

}  // namespace spnl
