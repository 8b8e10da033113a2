#include "plan_output.h"

#include "json_text.h"
#include "spnl/print.h"

namespace spnl::host {
namespace {

void write_generate(JsonText& json, const PlannedGenerate& planned) {
  json.begin_object().key("node").text(planned.node).key("model").text(planned.model);
  json.key("samples").whole(planned.samples);
  if (planned.sampling.max_tokens) json.key("max_tokens").whole(*planned.sampling.max_tokens);
  if (planned.sampling.temperature)
    json.key("temperature").shortest(static_cast<float>(*planned.sampling.temperature));
  json.key("needs").texts(planned.needs).key("stage").whole(planned.stage);
  if (planned.same_as.empty())
    json.key("batch").whole(planned.batch);
  else
    json.key("same_as").text(planned.same_as);
  json.key("prompt").text(planned.prompt).end_object();
}

void write_batch(JsonText& json, const PlannedBatch& batch) {
  json.begin_object().key("name").text(batch.name).key("model").text(batch.model);
  json.key("stage").whole(batch.stage).key("samples").whole(batch.samples);
  json.key("remote").boolean(batch.remote).key("nodes").texts(batch.nodes).end_object();
}

std::string plan_json(const QueryPlan& plan) {
  JsonText json;
  json.begin_object().key("query").value(print_json(plan.query));
  json.key("generates").begin_array();
  for (const PlannedGenerate& planned : plan.generates) write_generate(json, planned);
  json.end_array().key("batches").begin_array();
  for (const PlannedBatch& batch : plan.batches) write_batch(json, batch);
  json.end_array().key("notes").texts(plan.notes);
  return json.end_object().str() + "\n";
}

}  // namespace

std::string plan_text(const QueryPlan& plan, QueryForm form) {
  if (form == QueryForm::kJson) return plan_json(plan);
  const char* comment = form == QueryForm::kLisp ? "; " : form == QueryForm::kYaml ? "# " : "";
  std::string out = query_text(plan.query, form) + "\n";
  for (const std::string& line : plan_lines(plan)) out += comment + line + "\n";
  return out;
}

}  // namespace spnl::host
