#include "chat_session.h"

#include "completion_json.h"
#include "model_options.h"
#include "run_result.h"
#include "spnl/error.h"

namespace spnl::host {
namespace {

bool is_message(const Query& query) {
  return std::holds_alternative<User>(query.node) || std::holds_alternative<System>(query.node) ||
         std::holds_alternative<Assistant>(query.node);
}

/// The messages of a query that is a conversation: a message, a list of them, or a generate over
/// such.
const Query* conversation_of(const Query& query) {
  const auto* generate = std::get_if<Generate>(&query.node);
  return generate != nullptr ? &*generate->input : &query;
}

QueryList messages_of(const Query& query) {
  const Query& input = *conversation_of(query);
  if (is_message(input)) return {input};
  const QueryList* list = nullptr;
  if (const auto* seq = std::get_if<Seq>(&input.node)) list = &seq->children;
  if (const auto* cross = std::get_if<Cross>(&input.node)) list = &cross->children;
  bool only_messages = list != nullptr;
  for (size_t i = 0; only_messages && i < list->size(); ++i) only_messages = is_message((*list)[i]);
  if (!only_messages)
    throw Error(ErrorCode::kUsage, "this query is no conversation", "",
                "it may hold messages only, as /save writes them");
  return *list;
}

}  // namespace

ChatSession::ChatSession(Backends& backends, Terminal& terminal, Options options,
                         std::stop_token stop)
    : backends_(backends),
      terminal_(terminal),
      options_(std::move(options)),
      model_(backends.load(options_.evaluate.default_model, options_.evaluate.load,
                           std::move(stop))) {}

Query ChatSession::query() const {
  Seq input;
  if (!system_.empty()) input.children.push_back({System{system_}, {}});
  for (const Query& message : messages_) input.children.push_back(message);
  return {Generate{model_name(), options_.evaluate.defaults, QueryBox({std::move(input), {}})}, {}};
}

void ChatSession::load(const Query& query) {
  QueryList loaded = messages_of(query);
  std::string system;
  if (!loaded.empty())
    if (const auto* first = std::get_if<System>(&loaded[0].node)) {
      system = first->text;
      loaded.erase(loaded.begin());
    }
  system_ = std::move(system);
  messages_ = std::move(loaded);
}

ChatSession::Outcome ChatSession::answer(std::string text, std::stop_token stop) {
  messages_.push_back({User{std::move(text)}, {}});
  RunObserver::Shown shown;
  if (!options_.json && streaming_wanted()) shown.streaming_node = "root";
  shown.live_view = false;
  RunObserver observer(terminal_, std::move(shown));
  try {
    Query result = evaluate(query(), backends_, options_.evaluate, observer, std::move(stop));
    show(result, observer);
    if (std::holds_alternative<Assistant>(result.node)) {
      messages_.push_back(std::move(result));
    } else {
      messages_.pop_back();
      terminal_.note("the model answered nothing; the question is left out of the conversation");
    }
    return Outcome::kAnswered;
  } catch (const Error& error) {
    const bool stopped = error.code() == ErrorCode::kInterrupted;
    const std::string& written = observer.streamed();
    if (!written.empty()) terminal_.end_generated();
    if (stopped && !written.empty())
      messages_.push_back({Assistant{written}, {}});
    else
      messages_.pop_back();
    if (!stopped) throw;
    return Outcome::kStopped;
  }
}

void ChatSession::show(const Query& result, const RunObserver& observer) {
  for (NodeTimes answer : observer.times()) {
    answer.node = "answer " + std::to_string(times_.size() + 1);
    times_.push_back(std::move(answer));
  }
  if (options_.json)
    show_json(times_.back());
  else
    show_result(result, observer, terminal_);
  if (options_.times) terminal_.line(times_table({times_.back()}));
}

void ChatSession::show_json(const NodeTimes& answer) {
  for (const Completion& done : answer.samples) {
    JsonText json;
    json.begin_object();
    write_completion(json, done);
    json.key("times").begin_object();
    write_rates(json, done.usage);
    terminal_.result(json.end_object().end_object().str() + "\n");
  }
}

}  // namespace spnl::host
