#include "evaluator/plan.h"

#include <algorithm>

#include "ir/traverse.h"
#include "optimizer/seeds.h"
#include "spnl/error.h"

namespace spnl::evaluator {

Plan::Plan(const Query& query) {
  tasks.push_back({});
  tasks[0].query = &query;
  for (uint32_t i = 0; i < tasks.size(); ++i) {
    const Query* node = tasks[i].query;
    const uint32_t first = static_cast<uint32_t>(tasks.size());
    uint32_t slot = 0;
    ir::for_each_child(*node, [&](const Query& child) {
      Task task;
      task.query = &child;
      task.parent = i;
      task.hash = seeds::mix(tasks[i].hash, slot);
      task.slot = slot++;
      tasks.push_back(std::move(task));
    });
    tasks[i].first_child = first;
    tasks[i].child_count = slot;
  }
}

std::string Plan::path(uint32_t task) const {
  if (task == 0) return "root";
  std::vector<uint32_t> slots;
  for (; task != 0; task = tasks[task].parent) slots.push_back(tasks[task].slot);
  std::string text;
  for (size_t i = slots.size(); i-- > 0;) text += std::to_string(slots[i]) + (i > 0 ? "." : "");
  return text;
}

std::string Plan::where(uint32_t task) const {
  const SourcePosition position = tasks[task].query->position;
  std::string text = "node " + path(task);
  if (position.line > 0)
    text +=
        ", line " + std::to_string(position.line) + ", column " + std::to_string(position.column);
  return text;
}

std::optional<ModelUse> model_use(const Query& query) {
  if (const auto* generate = std::get_if<Generate>(&query.node))
    return ModelUse{&generate->model, &generate->sampling, 1};
  if (const auto* repeat = std::get_if<Repeat>(&query.node))
    return ModelUse{&repeat->generate.model, &repeat->generate.sampling, repeat->n};
  if (const auto* map = std::get_if<Map>(&query.node))
    return ModelUse{&map->model, &map->sampling, 1};
  return std::nullopt;
}

std::map<std::string, std::string> check(const Plan& plan, const EvaluateOptions& options) {
  std::map<std::string, std::string> answers;
  for (uint32_t i = 0; i < plan.tasks.size(); ++i) {
    const Query& query = *plan.tasks[i].query;
    if (const auto use = model_use(query);
        use && use->model->empty() && options.default_model.empty())
      throw Error(ErrorCode::kBadQuery, "this generate names no model", plan.where(i),
                  "name one, or give --model");
    if (std::holds_alternative<Augment>(query.node))
      throw Error(ErrorCode::kEvaluation, "no retrieval backend is installed", plan.where(i));
    if (const auto* ask = std::get_if<Ask>(&query.node);
        ask != nullptr && !answers.contains(ask->prompt)) {
      const auto answer = options.ask ? options.ask(ask->prompt) : std::nullopt;
      if (!answer)
        throw Error(ErrorCode::kEvaluation, "nobody answers '" + ask->prompt + "'", plan.where(i),
                    "give --prompt");
      answers.emplace(ask->prompt, *answer);
    }
  }
  return answers;
}

}  // namespace spnl::evaluator
