#include "query_json.h"

#include "json_text.h"

namespace spnl::host {
namespace {

constexpr double kDefaultTemperature = 0.6;

/// One overload a node kind.
class Printer {
 public:
  explicit Printer(JsonText& json) : json_(json) {}

  void operator()(const Query& query) {
    json_.begin_object();
    std::visit(*this, query.node);
    json_.end_object();
  }
  void operator()(const User& node) { json_.key("user").text(node.text); }
  void operator()(const System& node) { json_.key("system").text(node.text); }
  void operator()(const Assistant& node) { json_.key("assistant").text(node.text); }
  void operator()(const Print& node) { json_.key("print").text(node.text); }
  void operator()(const Seq& node) { list("seq", node.children); }
  void operator()(const Cross& node) { list("cross", node.children); }
  void operator()(const Plus& node) { list("plus", node.children); }
  void operator()(const Par& node) { list("par", node.children); }
  void operator()(const Generate& node) { generate(node); }
  void operator()(const Repeat& node) {
    json_.key("repeat").begin_object().key("n").whole(node.n);
    generate(node.generate);
    json_.end_object();
  }
  void operator()(const Map& node) {
    json_.key("map").begin_object().key("metadata").begin_object();
    metadata(node.model, node.sampling);
    json_.end_object().key("inputs").texts(node.inputs).end_object();
  }
  void operator()(const Zip& node) {
    json_.key("zip").begin_object().key("first");
    (*this)(*node.first);
    json_.key("second");
    (*this)(*node.second);
    json_.end_object();
  }
  void operator()(const Monad& node) {
    json_.key("monad");
    (*this)(*node.query);
  }
  void operator()(const Augment& node) {
    json_.key("augment")
        .begin_object()
        .key("embedding_model")
        .text(node.embedding_model)
        .key("body");
    (*this)(*node.body);
    json_.key("doc").begin_array().text(node.document.name).begin_object();
    if (const auto* text = std::get_if<std::string>(&node.document.content)) {
      json_.key("Text").text(*text);
    } else {
      json_.key("Binary").begin_array();
      for (uint8_t byte : std::get<std::vector<uint8_t>>(node.document.content)) json_.whole(byte);
      json_.end_array();
    }
    json_.end_object().end_array().end_object();
  }
  void operator()(const Fetch& node) {
    json_.key(node.binary ? "fetchb" : node.named ? "fetchn" : "fetch").text(node.location);
  }
  void operator()(const Ask& node) { json_.key("ask").text(node.prompt); }

 private:
  void list(const char* name, const QueryList& children) {
    json_.key(name).begin_array();
    for (const Query& child : children) (*this)(child);
    json_.end_array();
  }

  void generate(const Generate& node) {
    json_.key("g").begin_object();
    metadata(node.model, node.sampling);
    json_.key("input");
    (*this)(*node.input);
    json_.end_object();
  }

  void metadata(const std::string& model, const Sampling& sampling) {
    json_.key("model").text(model).key("max_tokens").whole(sampling.max_tokens.value_or(0));
    json_.key("temperature")
        .shortest(static_cast<float>(sampling.temperature.value_or(kDefaultTemperature)));
    if (sampling.seed) json_.key("seed").whole(*sampling.seed);
    if (sampling.top_k) json_.key("top_k").integer(*sampling.top_k);
    if (sampling.top_p) json_.key("top_p").shortest(static_cast<float>(*sampling.top_p));
    if (sampling.min_p) json_.key("min_p").shortest(static_cast<float>(*sampling.min_p));
    if (!sampling.stop.empty()) json_.key("stop").texts(sampling.stop);
    if (sampling.repeat_penalty)
      json_.key("repeat_penalty").shortest(static_cast<float>(*sampling.repeat_penalty));
    if (!sampling.spans.empty()) json_.key("spans").text(sampling.spans);
  }

  JsonText& json_;
};

}  // namespace

std::string query_json(const Query& query) {
  JsonText json;
  Printer printer(json);
  printer(query);
  return json.str();
}

}  // namespace spnl::host
