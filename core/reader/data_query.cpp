#include "reader/data_query.h"

#include <algorithm>
#include <optional>

#include "ir/traverse.h"
#include "reader/files.h"
#include "reader/sampling.h"
#include "util/text.h"

namespace spnl::reader {
namespace {

/// The keys of a generate; all but the last are also those of a map's metadata.
constexpr FieldName kGenerateFields[] = {
    {"model"}, {"spans"}, {"stop"},  {"max_tokens"},     {"temperature"}, {"seed"},
    {"top_k"}, {"top_p"}, {"min_p"}, {"repeat_penalty"}, {"input", true}};
constexpr std::span kMetadataFields = std::span(kGenerateFields).first<10>();
constexpr FieldName kRepeatFields[] = {{"n", true}, {"g", true}};
constexpr FieldName kMapFields[] = {{"metadata", true}, {"inputs", true}};
constexpr FieldName kZipFields[] = {{"first", true}, {"second", true}};
constexpr FieldName kAugmentFields[] = {{"embedding_model", true}, {"body", true}, {"doc", true}};

constexpr const char* kModelExpected = "a model's name";
constexpr const char* kDocumentExpected =
    "[NAME, {\"Text\": TEXT}], or \"Binary\" with a list of bytes";

QueryBox empty_box() { return QueryBox(Query{}); }

}  // namespace

Query DataReader::run() {
  struct Open {
    uint32_t value, depth;
    Query* place;
  };
  Query root;
  std::vector<Open> open{{0, 1, &root}};
  Indices children;
  while (!open.empty()) {
    const Open next = open.back();
    open.pop_back();
    if (next.depth > kDeepestNesting)
      source_.refuse(data_[next.value].position, "queries are nested deeper than 10,000");
    charge(sizeof(Query), next.value);
    children.clear();
    next.place->position = data_[next.value].position;
    next.place->node = node(next.value, children);
    const size_t first = open.size();
    size_t i = 0;
    ir::for_each_child(*next.place, [&](Query& place) {
      open.push_back({children[i++], next.depth + 1, &place});
    });
    std::reverse(open.begin() + static_cast<ptrdiff_t>(first), open.end());
  }
  return root;
}

std::span<const DataReader::NodeName> DataReader::node_names() {
  using R = DataReader;
  static constexpr NodeName kNames[] = {
      {"user", &R::text_node<User>},
      {"system", &R::text_node<System>},
      {"assistant", &R::text_node<Assistant>},
      {"print", &R::text_node<Print>},
      {"seq", &R::list_node<Seq>},
      {"cross", &R::list_node<Cross>},
      {"plus", &R::list_node<Plus>},
      {"par", &R::list_node<Par>},
      {"g", &R::generate},
      {"generate", &R::generate},
      {"repeat", &R::repeat},
      {"map", &R::map},
      {"zip", &R::zip},
      {"monad", &R::monad},
      {"augment", &R::augment},
      {"ask", &R::ask},
      {"file", &R::file},
      {"fetch", &R::fetch},
      {"fetchn", &R::fetchn},
      {"fetchb", &R::fetchb},
  };
  return kNames;
}

Query::Node DataReader::node(uint32_t value, Indices& children) {
  switch (data_[value].kind) {
    case DataKind::kString:
      return User{string(value)};
    case DataKind::kList:
      return list_node<Seq>(value, children);
    case DataKind::kMap:
      return named_node(value, children);
    default:
      fail(value, "a query",
           data_[value].kind == DataKind::kNull ? "" : "between quotes it is a message");
  }
}

Query::Node DataReader::named_node(uint32_t map, Indices& children) {
  const Indices parts = data_.parts(map);
  if (parts.empty()) fail(map, "a key that names the node");
  if (data_[parts[0]].kind != DataKind::kString) fail(parts[0], "a key that names the node");
  const std::string_view name = data_.text(parts[0]);
  const NodeName* found = nullptr;
  std::vector<std::string> known;
  for (const NodeName& one : node_names()) {
    if (one.name == name) found = &one;
    known.emplace_back(one.name);
  }
  if (found == nullptr) {
    std::string hint = text::did_you_mean(name, known);
    for (const FieldName& field : kGenerateFields)
      if (field.name == name) hint = "keys of a generate stand inside \"g\"";
    source_.fail(data_[parts[0]].position, "unknown node " + text::quote(name),
                 "a node of the language", hint);
  }
  if (parts.size() > 2) {
    const std::string_view second = data_.text(parts[2]);
    source_.fail(data_[parts[2]].position,
                 second == name ? "key " + text::quote(name) + " a second time"
                                : "a second key " + text::quote(second),
                 "one key, which names the node", "seq puts several in order");
  }
  return (this->*found->build)(parts[1], children);
}

template <class T>
Query::Node DataReader::text_node(uint32_t value, Indices&) {
  T node{};
  node.text = string(value);
  return node;
}

template <class T>
Query::Node DataReader::list_node(uint32_t value, Indices& children) {
  children = items(value, "a list of queries");
  T node;
  node.children.resize(children.size());
  return node;
}

Query::Node DataReader::ask(uint32_t value, Indices&) { return Ask{string(value)}; }
Query::Node DataReader::file(uint32_t value, Indices&) { return User{file_text(value)}; }
Query::Node DataReader::fetch(uint32_t value, Indices&) { return fetched(value, false, false); }
Query::Node DataReader::fetchn(uint32_t value, Indices&) { return fetched(value, true, false); }
Query::Node DataReader::fetchb(uint32_t value, Indices&) { return fetched(value, true, true); }

Query::Node DataReader::generate(uint32_t value, Indices& children) {
  const Indices given = fields(value, kGenerateFields, "generate");
  Generate node{"", {}, empty_box()};
  sampling(given, node.model, node.sampling);
  children = {given.back()};
  return node;
}

Query::Node DataReader::repeat(uint32_t value, Indices& children) {
  const Indices given = fields(value, kRepeatFields, "repeat");
  const uint64_t n = whole(given[0], 1, kMostSamples, kSamplesExpected);
  if (data_[given[1]].kind != DataKind::kMap) fail(given[1], "a map that describes the generate");
  return Repeat{static_cast<uint32_t>(n), std::get<Generate>(generate(given[1], children))};
}

Query::Node DataReader::map(uint32_t value, Indices&) {
  const Indices given = fields(value, kMapFields, "map");
  Map node;
  sampling(fields(given[0], kMetadataFields, "metadata"), node.model, node.sampling);
  node.inputs = strings(given[1]);
  return node;
}

Query::Node DataReader::zip(uint32_t value, Indices& children) {
  children = fields(value, kZipFields, "zip");
  return Zip{empty_box(), empty_box()};
}

Query::Node DataReader::monad(uint32_t value, Indices& children) {
  children = {value};
  return Monad{empty_box()};
}

Query::Node DataReader::augment(uint32_t value, Indices& children) {
  const Indices given = fields(value, kAugmentFields, "augment");
  std::string model = filled_string(given[0], kModelExpected);
  children = {given[1]};
  return Augment{std::move(model), empty_box(), document(given[2])};
}

void DataReader::sampling(const Indices& given, std::string& model, Sampling& to) {
  const auto value = [&](std::string_view name) -> uint32_t {
    for (size_t i = 0; i < kMetadataFields.size(); ++i)
      if (kMetadataFields[i].name == name) return given[i];
    return 0;
  };
  if (const uint32_t v = value("model")) model = filled_string(v, kModelExpected);
  for (const SamplingNumber& field : kSamplingNumbers) {
    const uint32_t v = value(field.name);
    if (v == 0) continue;
    const Number found = number(v, field.expected);
    if (!field.accepts(found)) fail(v, field.expected);
    field.set(to, found);
  }
  if (const uint32_t v = value("spans")) {
    to.spans = string(v, kSpansExpected);
    if (!is_span_mode(to.spans)) fail(v, kSpansExpected);
  }
  if (const uint32_t v = value("stop"))
    for (const uint32_t item : items(v, "a list of strings"))
      to.stop.push_back(filled_string(item, "text to stop at"));
}

Document DataReader::document(uint32_t value) {
  if (const uint32_t named = only(value, "filen")) {
    Document document;
    document.name = path(named);
    document.content = file_text(named);
    return document;
  }
  const auto fetch_in = [this](uint32_t map) -> std::optional<Fetch> {
    if (const uint32_t v = only(map, "fetchn")) return fetched(v, true, false);
    if (const uint32_t v = only(map, "fetchb")) return fetched(v, true, true);
    if (const uint32_t v = only(map, "fetch")) return fetched(v, false, false);
    return std::nullopt;
  };
  if (const auto fetch = fetch_in(value)) return {fetch->location, *fetch};
  const Indices parts = items(value, kDocumentExpected);
  if (parts.size() != 2) fail(value, kDocumentExpected);
  Document document;
  document.name = string(parts[0], "a document's name");
  if (const uint32_t v = only(parts[1], "Text"))
    document.content = string(v);
  else if (const uint32_t b = only(parts[1], "Binary"))
    document.content = bytes(b);
  else if (const auto fetch = fetch_in(parts[1]))
    document.content = *fetch;
  else
    fail(parts[1], "{\"Text\": TEXT} or {\"Binary\": [BYTE...]}");
  return document;
}

std::vector<uint8_t> DataReader::bytes(uint32_t value) {
  std::vector<uint8_t> bytes;
  for (const uint32_t item : items(value, "a list of bytes"))
    bytes.push_back(static_cast<uint8_t>(whole(item, 0, 255, "a byte from 0 to 255")));
  charge(bytes.size(), value);
  return bytes;
}

Fetch DataReader::fetched(uint32_t value, bool named, bool binary) {
  return {located(options_, path(value)), named, binary};
}

}  // namespace spnl::reader
