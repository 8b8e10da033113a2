#include "ir/data.h"

#include <string>
#include <utility>

#include "ir/numbers.h"
#include "ir/traverse.h"

namespace spnl::ir {
namespace {

enum class Tell { kQuery, kBeginMap, kEndMap, kBeginList, kEndList, kKey, kText, kNumber, kBytes };

/// One thing still to be told. Borrows from the query, but for digits.
struct Step {
  Tell tell = Tell::kQuery;
  const Query* query = nullptr;
  const std::vector<uint8_t>* bytes = nullptr;
  size_t count = 0;
  std::string_view text = {};
  std::string digits = {};
};

/// The steps of one node, in order, with its children left as steps of their own.
class Steps {
 public:
  std::vector<Step> steps;

  void begin_map(size_t entries) { steps.push_back({.tell = Tell::kBeginMap, .count = entries}); }
  void end_map() { steps.push_back({.tell = Tell::kEndMap}); }
  void begin_list(size_t items) { steps.push_back({.tell = Tell::kBeginList, .count = items}); }
  void end_list() { steps.push_back({.tell = Tell::kEndList}); }
  void key(std::string_view name) { steps.push_back({.tell = Tell::kKey, .text = name}); }
  void text(std::string_view text) { steps.push_back({.tell = Tell::kText, .text = text}); }
  void number(std::string digits) {
    steps.push_back({.tell = Tell::kNumber, .digits = std::move(digits)});
  }
  void child(const Query& query) { steps.push_back({.query = &query}); }
  void texts(const std::vector<std::string>& all) {
    begin_list(all.size());
    for (const std::string& one : all) text(one);
    end_list();
  }

  void entry(std::string_view name, std::string_view value) { key(name), text(value); }

  void operator()(const User& node) { entry("user", node.text); }
  void operator()(const System& node) { entry("system", node.text); }
  void operator()(const Assistant& node) { entry("assistant", node.text); }
  void operator()(const Print& node) { entry("print", node.text); }
  void operator()(const Ask& node) { entry("ask", node.prompt); }
  void operator()(const Fetch& node) {
    entry(node.binary ? "fetchb" : node.named ? "fetchn" : "fetch", node.location);
  }
  void operator()(const Seq& node) { list("seq", node.children); }
  void operator()(const Cross& node) { list("cross", node.children); }
  void operator()(const Plus& node) { list("plus", node.children); }
  void operator()(const Par& node) { list("par", node.children); }
  void operator()(const Generate& node) { generate(node); }
  void operator()(const Repeat& node) {
    key("repeat"), begin_map(2);
    key("n"), number(std::to_string(node.n));
    generate(node.generate);
    end_map();
  }
  void operator()(const Map& node) {
    key("map"), begin_map(2);
    key("metadata"), begin_map(metadata_entries(node.model, node.sampling));
    metadata(node.model, node.sampling);
    end_map();
    key("inputs"), texts(node.inputs);
    end_map();
  }
  void operator()(const Zip& node) {
    key("zip"), begin_map(2);
    key("first"), child(*node.first);
    key("second"), child(*node.second);
    end_map();
  }
  void operator()(const Monad& node) { key("monad"), child(*node.query); }
  void operator()(const Augment& node) {
    key("augment"), begin_map(3);
    entry("embedding_model", node.embedding_model);
    key("body"), child(*node.body);
    key("doc"), begin_list(2);
    text(node.document.name);
    begin_map(1);
    std::visit([this](const auto& content) { document(content); }, node.document.content);
    end_map(), end_list(), end_map();
  }

 private:
  void list(std::string_view name, const QueryList& children) {
    key(name), begin_list(children.size());
    for (const Query& one : children) child(one);
    end_list();
  }

  void generate(const Generate& node) {
    key("g"), begin_map(metadata_entries(node.model, node.sampling) + 1);
    metadata(node.model, node.sampling);
    key("input"), child(*node.input);
    end_map();
  }

  static size_t metadata_entries(const std::string& model, const Sampling& sampling) {
    Steps told;
    told.metadata(model, sampling);
    size_t entries = 0;
    for (const Step& step : told.steps) entries += step.tell == Tell::kKey;
    return entries;
  }

  void metadata(const std::string& model, const Sampling& sampling) {
    const auto whole = [this](std::string_view name, const auto& value) {
      if (value) key(name), number(std::to_string(*value));
    };
    const auto real = [this](std::string_view name, const std::optional<double>& value) {
      if (value) key(name), number(number_text(*value));
    };
    if (!model.empty()) entry("model", model);
    whole("max_tokens", sampling.max_tokens);
    real("temperature", sampling.temperature);
    if (!sampling.spans.empty()) entry("spans", sampling.spans);
    whole("seed", sampling.seed);
    whole("top_k", sampling.top_k);
    real("top_p", sampling.top_p);
    real("min_p", sampling.min_p);
    if (!sampling.stop.empty()) key("stop"), texts(sampling.stop);
    real("repeat_penalty", sampling.repeat_penalty);
  }

  void document(const std::string& content) { entry("Text", content); }
  void document(const std::vector<uint8_t>& content) {
    key("Binary");
    steps.push_back({.tell = Tell::kBytes, .bytes = &content});
  }
  void document(const Fetch& content) { (*this)(content); }
};

void tell_step(const Step& step, DataSink& sink) {
  switch (step.tell) {
    case Tell::kQuery:
      return;
    case Tell::kBeginMap:
      return sink.begin_map(step.count);
    case Tell::kEndMap:
      return sink.end_map();
    case Tell::kBeginList:
      return sink.begin_list(step.count);
    case Tell::kEndList:
      return sink.end_list();
    case Tell::kKey:
      return sink.key(step.text);
    case Tell::kText:
      return sink.text(step.text);
    case Tell::kNumber:
      return sink.number(step.digits);
    case Tell::kBytes:
      return sink.bytes(*step.bytes);
  }
}

}  // namespace

void tell(const Query& query, DataSink& sink) {
  std::vector<Step> open{{.query = &query}};
  while (!open.empty()) {
    const Step step = std::move(open.back());
    open.pop_back();
    if (step.tell != Tell::kQuery) {
      tell_step(step, sink);
      continue;
    }
    Steps node;
    node.begin_map(1);
    std::visit(node, step.query->node);
    node.end_map();
    open.insert(open.end(), std::make_move_iterator(node.steps.rbegin()),
                std::make_move_iterator(node.steps.rend()));
  }
}

}  // namespace spnl::ir
