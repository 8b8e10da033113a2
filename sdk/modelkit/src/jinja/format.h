#pragma once
// printf-style formatting (%) and the format mini-language of str.format.
#include <string>
#include <string_view>

#include "jinja/value.h"

namespace spnl::modelkit::jinja {

Value percent_format(const Value& format, const Value& args);
/// format(value, spec)
std::string format_value(const Value& v, std::string_view spec);
/// str.format with the sandbox's attribute rules.
std::string format_string(Runtime& rt, std::string_view format, const Args& args);

struct NumberSpec {
  std::string fill = " ";
  char align = 0, sign = '-', type = 0, group = 0;
  bool alternate = false, has_precision = false;
  int64_t width = 0, precision = 6;
};
std::string pad(const std::string& body, const NumberSpec& spec, char default_align);
std::string format_number(const Value& v, const NumberSpec& spec);

}  // namespace spnl::modelkit::jinja
