#include "run_result.h"

#include "completion_json.h"
#include "spnl/print.h"

namespace spnl::host {
namespace {

void write_generation(JsonText& json, const NodeTimes& node, const Completion& done) {
  json.begin_object().key("node").text(node.node).key("model").text(node.model);
  json.key("sample").whole(done.sample);
  write_completion(json, done);
  json.key("times").begin_object();
  write_rates(json, done.usage);
  json.end_object();
  if (!done.error.empty()) json.key("error").text(done.error);
  json.end_object();
}

}  // namespace

void show_result(const Query& result, const RunObserver& observer, Terminal& terminal) {
  const std::string text = result_text(result);
  const std::string& streamed = observer.streamed();
  if (streamed.empty())
    terminal.generated(text);
  else if (text.size() > streamed.size() && text.compare(0, streamed.size(), streamed) == 0)
    terminal.generated(std::string_view(text).substr(streamed.size()));
  terminal.end_generated();
}

std::string result_json(const Query& result, const RunObserver& observer, double seconds) {
  JsonText json;
  json.begin_object().key("result").value(print_json(result));
  json.key("text").text(result_text(result));
  json.key("generations").begin_array();
  for (const NodeTimes& node : observer.times())
    for (const Completion& done : node.samples) write_generation(json, node, done);
  json.end_array().key("failures").begin_array();
  for (const RunObserver::Failure& failure : observer.failures())
    json.begin_object()
        .key("node")
        .text(failure.node)
        .key("error")
        .text(one_line(failure.error))
        .end_object();
  json.end_array().key("seconds").rounded(seconds, 4);
  return json.end_object().str() + "\n";
}

}  // namespace spnl::host
