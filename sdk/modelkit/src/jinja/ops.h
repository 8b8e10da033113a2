#pragma once
// Python's operators on values.
#include "jinja/value.h"

namespace spnl::modelkit::jinja {

Value add(const Value& a, const Value& b);
Value binary(char op, const Value& a, const Value& b);  ///< operators as in ast.h
Value negate(const Value& v);
Value positive(const Value& v);
bool contains(Runtime& rt, const Value& container, const Value& item);
bool compare(Runtime& rt, char op, const Value& a, const Value& b);
Value index(const Value& sequence, int64_t at, bool& found);
Value slice(const Value& v, const Value& start, const Value& stop, const Value& step);
int64_t checked_add(int64_t a, int64_t b);
int64_t checked_mul(int64_t a, int64_t b);
Value power(const Value& a, const Value& b);
std::string escape_html(std::string_view s);

}  // namespace spnl::modelkit::jinja
