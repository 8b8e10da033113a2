#include "evaluator/check.h"

#include "spnl/error.h"

namespace spnl::evaluator {

std::map<std::string, std::string> check(const NodeTable& table, const EvaluateOptions& options) {
  std::map<std::string, std::string> answers;
  for (uint32_t i = 0; i < table.nodes.size(); ++i) {
    const Query& query = *table.nodes[i].query;
    if (const auto use = model_use(query);
        use && use->model->empty() && options.default_model.empty())
      throw Error(ErrorCode::kBadQuery, "this generate names no model", table.where(i),
                  "name one, or give --model");
    if (std::holds_alternative<Augment>(query.node))
      throw Error(ErrorCode::kEvaluation, "no retrieval backend is installed", table.where(i),
                  "write the passages that matter into a plus, for example with (file ...)");
  }
  for (uint32_t i = 0; i < table.nodes.size(); ++i) {  // nobody is asked for what cannot run anyway
    const auto* ask = std::get_if<Ask>(&table.nodes[i].query->node);
    if (ask == nullptr || answers.contains(ask->prompt)) continue;
    const auto answer = options.ask ? options.ask(ask->prompt) : std::nullopt;
    if (!answer)
      throw Error(ErrorCode::kEvaluation, "nobody answers '" + ask->prompt + "'", table.where(i),
                  "give --prompt");
    answers.emplace(ask->prompt, *answer);
  }
  return answers;
}

}  // namespace spnl::evaluator
