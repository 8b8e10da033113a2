#include <algorithm>
#include <cstdio>
#include <map>
#include <utility>

#include "optimizer/node_table.h"
#include "optimizer/preview.h"
#include "optimizer/sampling.h"
#include "optimizer/share.h"
#include "optimizer/span_hints.h"
#include "optimizer/stages.h"
#include "spnl/error.h"
#include "spnl/optimizer.h"

namespace spnl {
namespace {

/// Builds the plan's lists in reading order.
class Planner {
 public:
  Planner(Query query, const EvaluateOptions& options)
      : query_(std::move(query)),
        table_(query_),
        options_(options),
        sharing_(find_shared(table_, options)),
        readers_(readers(table_)),
        stages_(stages(table_)) {}

  void describe(QueryPlan& plan, const CapabilitiesOf& capabilities) {
    plan.notes = sharing_notes(table_, sharing_);
    for (std::string& hint : span_hints(table_, capabilities, options_))
      plan.notes.push_back(std::move(hint));
    std::vector<uint32_t> open{0};
    while (!open.empty()) {
      const uint32_t at = open.back();
      open.pop_back();
      const NodeTable::Node& node = table_.nodes[at];
      if (std::holds_alternative<Augment>(node.query->node))
        plan.notes.push_back(table_.where(at) +
                             ": running it needs a retrieval backend, and none is installed");
      if (const auto use = model_use(*node.query))
        for (uint32_t i = 0; i < use->inputs; ++i) add(plan, {at, i}, *use);
      if (sharing_.served_by.contains({at, 0}) && node.child_count > 0) continue;
      for (uint32_t i = node.child_count; i-- > 0;) open.push_back(node.first_child + i);
    }
    add_needs(plan);
  }

 private:
  void add(QueryPlan& plan, GenerateUnit unit, const ModelUse& use) {
    PlannedGenerate one;
    one.node = table_.path(unit.node, unit.input);
    one.position = table_.nodes[unit.node].query->position;
    one.model = use.model->empty() ? options_.default_model : *use.model;
    if (one.model.empty())
      throw Error(ErrorCode::kBadQuery, "this generate names no model", table_.where(unit.node),
                  "name one, or give --model");
    one.sampling = effective_sampling(*use.sampling, options_);
    one.samples = use.samples;
    one.stage = stages_[unit.node];
    one.prompt = preview_prompt(table_, unit);
    if (const auto by = sharing_.served_by.find(unit); by != sharing_.served_by.end())
      one.same_as = table_.path(by->second.node, by->second.input);
    if (sharing_.alike.contains(unit.node)) one.samples = 1;
    plan.generates.push_back(std::move(one));
    units_.push_back(unit);
  }

  void add_needs(QueryPlan& plan) {
    std::map<uint32_t, size_t> at;  // of generates with children, by node
    for (size_t i = 0; i < units_.size(); ++i)
      if (units_[i].input == 0) at.emplace(units_[i].node, i);
    for (size_t i = 0; i < units_.size(); ++i) {
      const uint32_t reader = readers_[units_[i].node];
      if (reader != kNoReader)
        plan.generates[at.at(reader)].needs.push_back(plan.generates[i].node);
    }
  }

  const Query query_;
  const NodeTable table_;
  const EvaluateOptions& options_;
  Sharing sharing_;
  std::vector<uint32_t> readers_, stages_;
  std::vector<GenerateUnit> units_;
};

/// Names the generates of a stage and a model that run as one batch.
void form_batches(QueryPlan& plan, const CapabilitiesOf& capabilities) {
  std::map<std::pair<uint32_t, std::string>, uint32_t> by_key;
  for (const PlannedGenerate& one : plan.generates)
    if (one.same_as.empty()) by_key.emplace(std::pair(one.stage, one.model), 0);
  for (auto& [key, index] : by_key) {
    index = static_cast<uint32_t>(plan.batches.size());
    const auto abilities = capabilities(key.second);
    const bool remote = std::find(abilities.begin(), abilities.end(), "remote") != abilities.end();
    plan.batches.push_back(
        {"batch " + std::to_string(index + 1), key.second, key.first, 0, remote, {}});
  }
  for (PlannedGenerate& one : plan.generates) {
    if (!one.same_as.empty()) continue;
    one.batch = by_key.at({one.stage, one.model});
    plan.batches[one.batch].samples += one.samples;
    plan.batches[one.batch].nodes.push_back(one.node);
  }
}

std::string joined(const std::vector<std::string>& names) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i)
    text += (i > 0 ? ", " : "") + names[i];
  if (names.size() > kShown) text += " and " + std::to_string(names.size() - kShown) + " more";
  return text;
}

std::string counted(size_t count, const std::string& thing) {
  return std::to_string(count) + " " + thing + (count == 1 ? "" : "s");
}

}  // namespace

QueryPlan plan(const Query& query, const CapabilitiesOf& capabilities,
               const EvaluateOptions& options) {
  const CapabilitiesOf known = [&](const std::string& model) {
    return capabilities(model.empty() ? options.default_model : model);
  };
  QueryPlan plan{query, {}, {}, {}};
  const PassContext context{known, options.fragments};
  for (const Pass& pass : passes()) plan.query = pass.rewrite(std::move(plan.query), context);
  Planner(retrieve(query, context), options).describe(plan, known);
  form_batches(plan, known);
  return plan;
}

std::vector<std::string> plan_lines(const QueryPlan& plan) {
  std::vector<std::string> lines;
  if (plan.batches.empty()) lines.push_back("nothing is asked of a model");
  for (size_t i = 0; i < plan.batches.size(); ++i) {
    const PlannedBatch& batch = plan.batches[i];
    if (i == 0 || batch.stage != plan.batches[i - 1].stage)
      lines.push_back("stage " + std::to_string(batch.stage + 1) +
                      (batch.stage == 0 ? "" : ", after the stages before") + ":");
    std::string how = batch.samples == 1 ? "" : batch.remote ? " in parallel" : " side by side";
    lines.push_back("  " + batch.name + ": " + batch.model + ", " +
                    counted(batch.samples, "sequence") + how + ": " +
                    (batch.nodes.size() == 1 ? "node " : "nodes ") + joined(batch.nodes));
    if (batch.remote && batch.samples > 1) lines.back() += " (at most SPNL_NUM_PARALLEL at once)";
  }
  lines.insert(lines.end(), plan.notes.begin(), plan.notes.end());
  return lines;
}

std::vector<std::string> dry_run_lines(const QueryPlan& plan) {
  std::vector<std::string> lines;
  for (const PlannedGenerate& one : plan.generates) {
    std::string line = "node " + one.node + ": ";
    if (!one.same_as.empty()) {
      lines.push_back(line + "as node " + one.same_as);
      continue;
    }
    line += one.model + ", " + counted(one.samples, "sample");
    char temperature[40];
    std::snprintf(temperature, sizeof temperature, "%g", one.sampling.temperature.value_or(0));
    line += std::string(", temperature ") + temperature;
    const uint64_t tokens = one.sampling.max_tokens.value_or(0);
    line += tokens > 0 ? ", at most " + counted(tokens, "token") : "";
    lines.push_back(line + ": " + one.prompt);
  }
  lines.insert(lines.end(), plan.notes.begin(), plan.notes.end());
  if (plan.generates.empty()) lines.push_back("nothing is asked of a model");
  return lines;
}

}  // namespace spnl
