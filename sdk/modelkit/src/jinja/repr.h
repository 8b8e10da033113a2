#pragma once
// Text forms of values: str(), repr(), and JSON as Python's json.dumps writes it.
#include <string>

#include "jinja/value.h"

namespace spnl::modelkit::jinja {

std::string to_text(const Value& v);  ///< str(v); empty for undefined
std::string repr(const Value& v);
std::string float_repr(double d);        ///< shortest form that reads back, as Python prints it
std::string quoted(std::string_view s);  ///< repr() of a string
std::string soft_text(const Value& v);   ///< the string itself, else str(v)

struct JsonStyle {
  bool ensure_ascii = false, sort_keys = false, has_indent = false;
  std::string indent, item_separator = ", ", key_separator = ": ";
};
std::string to_json(const Value& v, const JsonStyle& style);

}  // namespace spnl::modelkit::jinja
