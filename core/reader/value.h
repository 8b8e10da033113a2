#pragma once
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "spnl/query.h"

namespace spnl::reader {

struct Number {
  double value = 0;
  std::optional<uint64_t> whole;  ///< exact, when the number is an integer from 0 to 2^64 - 1
};

struct Value;
using Values = std::vector<Value>;

/// Strings, queries and documents, nothing else; so lists never nest.
struct List {
  Values items;
};

/// A lambda: its form and the scope it was written in, both owned by the interpreter.
struct Function {
  uint32_t form = 0, scope = 0;
};

/// "(max-tokens 5)" inside a form that takes options.
struct Option {
  std::string name;
  Values values;
};

/// What a form stands for while a query is read, and where that form begins.
struct Value {
  std::variant<std::string, Number, Query, List, Document, Function, Option> data;
  SourcePosition position;
  bool from_outside = false;  ///< a string out of a file or a binding, which may hold a JSON array
};

/// The number that digits such as "-1.5e3" spell; no value when a double cannot hold it.
std::optional<Number> parse_number(std::string_view digits);

/// A number that came from outside the text: an integer when it is one exactly.
Number make_number(double value);

/// The strings of a JSON array of strings. No value when `text` is no JSON array; an error text in
/// `problem` when it is one but holds something else.
std::optional<std::vector<std::string>> json_strings(std::string_view text, std::string& problem);

/// For messages: "string 'abc'", "number 5", "a list", ...
std::string describe(const Value& value);

/// How an integer or other number is written in messages and by `format`.
std::string print_number(const Number& number);

/// Bytes that a copy of `value` would take, roughly.
size_t weight(const Value& value);

}  // namespace spnl::reader
