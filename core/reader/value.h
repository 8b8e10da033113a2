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

/// Strings and queries, nothing else; so lists never nest.
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
};

/// For messages: "string 'abc'", "number 5", "a list", ...
std::string describe(const Value& value);

/// How an integer or other number is written in messages and by `format`.
std::string print_number(const Number& number);

/// Bytes that a copy of `value` would take, roughly.
size_t weight(const Value& value);

}  // namespace spnl::reader
