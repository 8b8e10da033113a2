#include "reader/forms.h"

namespace spnl::reader {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

const Fetch* fetch_in(const Value& value) {
  const auto* query = std::get_if<Query>(&value.data);
  return query == nullptr ? nullptr : std::get_if<Fetch>(&query->node);
}

Document document(const Interpreter& in, Value& value) {
  if (auto* document = std::get_if<Document>(&value.data)) return std::move(*document);
  if (const Fetch* fetch = fetch_in(value)) return {fetch->location, *fetch};
  in.fail(value, "a document", "(filen PATH) reads one");
}

std::string embedding_model(const Interpreter& in, Value& value) {
  std::string name = in.string(value, "an embedding model's name");
  if (name.empty())
    in.source().fail(value.position, "an empty string", "an embedding model's name");
  return name;
}

}  // namespace

// Documents and augments have no form upstream that says all of them; these are ours, and what
// print_lisp writes.
Value build_document(Interpreter& in, Call& call) {
  in.expect_count(call, 2, 2, "(document NAME TEXT)");
  Document made;
  made.name = in.string(call.values[0]);
  if (const Fetch* fetch = fetch_in(call.values[1]))
    made.content = *fetch;
  else
    made.content = in.string(call.values[1], "a string or a fetch");
  return {std::move(made), in.position(call)};
}

Value build_binary(Interpreter& in, Call& call) {
  constexpr const char* kExpected = "two hexadecimal digits a byte";
  in.expect_count(call, 2, 2, "(binary NAME HEXADECIMAL)");
  Document made;
  made.name = in.string(call.values[0]);
  const SourcePosition place = call.values[1].position;
  const std::string digits = in.string(call.values[1], kExpected);
  if (digits.size() % 2 != 0) in.source().fail(place, "an odd number of digits", kExpected);
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < digits.size(); i += 2) {
    const int high = hex_digit(digits[i]), low = hex_digit(digits[i + 1]);
    if (high < 0 || low < 0) in.source().fail(place, "a string of other characters", kExpected);
    bytes.push_back(static_cast<uint8_t>(high * 16 + low));
  }
  made.content = std::move(bytes);
  return {std::move(made), in.position(call)};
}

Value build_augment(Interpreter& in, Call& call) {
  in.expect_count(call, 3, 3, "(augment EMBEDDING-MODEL BODY DOCUMENT)");
  const SourcePosition position = in.position(call);
  std::string model = embedding_model(in, call.values[0]);
  QueryBox body(in.query(call.values[1]));
  return {Query{Augment{std::move(model), std::move(body), document(in, call.values[2])}, position},
          position};
}

Value build_with(Interpreter& in, Call& call) {
  in.expect_count(call, 3, SIZE_MAX, "(with EMBEDDING-MODEL QUESTION DOCUMENT...)");
  const SourcePosition position = in.position(call);
  const std::string model = embedding_model(in, call.values[0]);
  Value question{in.query(call.values[1]), call.values[1].position};
  const size_t bytes = weight(question);
  Plus plus;
  const auto add = [&](Value& value) {
    in.charge(bytes, value.position);
    plus.children.push_back(
        {Augment{model, QueryBox(std::get<Query>(question.data)), document(in, value)},
         value.position});
  };
  for (size_t i = 2; i < call.values.size(); ++i) {
    if (auto* list = std::get_if<List>(&call.values[i].data))
      for (Value& item : list->items) add(item);
    else
      add(call.values[i]);
  }
  Cross cross;
  cross.children.push_back({std::move(plus), position});
  cross.children.push_back({User{"Please answer this question:"}, position});
  cross.children.push_back(std::move(std::get<Query>(question.data)));
  return {Query{std::move(cross), position}, position};
}

}  // namespace spnl::reader
