#include <cmath>

#include "reader/interpreter.h"

namespace spnl::reader {

void Interpreter::fail(const Value& found, const std::string& expected,
                       const std::string& hint) const {
  source_.fail(found.position, describe(found), expected, hint);
}

void Interpreter::expect_count(const Call& call, size_t least, size_t most,
                               const std::string& usage) const {
  const size_t count = call.values.size();
  if (count > most) fail(call.values[most], "')'", "it is written " + usage);
  if (count < least)
    source_.fail(position(call), std::to_string(count) + (count == 1 ? " argument" : " arguments"),
                 usage);
}

void Interpreter::expect_arguments(const Call& call, size_t least, size_t most,
                                   const std::string& usage) const {
  const auto given = arguments(call);
  if (given.size() > most)
    source_.fail(forms_[given[most]].position, forms_.describe(given[most]), "')'",
                 "it is written " + usage);
  if (given.size() < least)
    source_.fail(position(call),
                 std::to_string(given.size()) + (given.size() == 1 ? " argument" : " arguments"),
                 usage);
}

std::string Interpreter::string(Value& value, const std::string& expected) const {
  if (auto* string = std::get_if<std::string>(&value.data)) return std::move(*string);
  const auto* query = std::get_if<Query>(&value.data);
  const bool later = query != nullptr && (std::holds_alternative<Ask>(query->node) ||
                                          std::holds_alternative<Fetch>(query->node));
  fail(value, expected, later ? "what is asked or fetched is a user message" : "");
}

double Interpreter::number(const Value& value, double least, double most,
                           const std::string& expected) const {
  const auto* number = std::get_if<Number>(&value.data);
  if (number == nullptr || !(number->value >= least && number->value <= most))
    fail(value, expected);
  return number->value;
}

uint64_t Interpreter::whole(const Value& value, uint64_t least, uint64_t most,
                            const std::string& expected) const {
  const auto* number = std::get_if<Number>(&value.data);
  if (number == nullptr || !number->whole || *number->whole < least || *number->whole > most)
    fail(value, expected);
  return *number->whole;
}

Query Interpreter::query(Value& value) const {
  if (auto* query = std::get_if<Query>(&value.data)) return std::move(*query);
  if (auto* string = std::get_if<std::string>(&value.data))
    return {User{std::move(*string)}, value.position};
  if (std::holds_alternative<List>(value.data)) {
    Seq seq;
    append_queries(value, seq.children);
    return {std::move(seq), value.position};
  }
  const char* hint = "";
  if (std::holds_alternative<Number>(value.data)) hint = "numbers are no messages; quote it";
  if (std::holds_alternative<Document>(value.data)) hint = "(file PATH) gives the text alone";
  fail(value, "a query", hint);
}

void Interpreter::append_queries(Value& value, QueryList& to) const {
  if (auto* list = std::get_if<List>(&value.data)) {
    for (Value& item : list->items) to.push_back(query(item));
  } else {
    to.push_back(query(value));
  }
}

List& Interpreter::list(Value& value) const {
  if (auto* list = std::get_if<List>(&value.data)) return *list;
  const auto* text = std::get_if<std::string>(&value.data);
  std::string problem;
  const auto strings = text != nullptr ? json_strings(*text, problem) : std::nullopt;
  if (!problem.empty()) source_.fail(value.position, problem, "strings alone");
  if (!strings) fail(value, "a list");
  List list;
  for (const std::string& string : *strings) list.items.push_back({string, value.position});
  return value.data.emplace<List>(std::move(list));
}

bool Interpreter::holds_json_array(const Value& value) const {
  const auto* text = std::get_if<std::string>(&value.data);
  std::string problem;
  return text != nullptr && json_strings(*text, problem).has_value();
}

std::string_view Interpreter::symbol(uint32_t form) const {
  if (forms_[form].kind != FormKind::kSymbol)
    source_.fail(forms_[form].position, forms_.describe(form), "a symbol");
  return forms_.text(form);
}

}  // namespace spnl::reader
