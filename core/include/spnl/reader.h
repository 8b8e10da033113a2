#pragma once
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <variant>

#include "spnl/query.h"

namespace spnl {

using BindingValue = std::variant<std::string, double>;

struct ReadOptions {
  std::string source_name = "query";              ///< for messages: "file.spnl", "-c"
  std::string folder = ".";                       ///< `file` forms are relative to it
  std::map<std::string, BindingValue> bindings;   ///< symbols: model, prompt, n, temperature, ...
  std::function<void(const std::string&)> on_note;  ///< one line about a reading that may surprise; may be empty
};

/// Reads one Lisp form (language specification, section 3). Throws Error(kBadQuery) whose where() is
/// `source_name:line:column` of the smallest wrong thing: found X, expected Y, with near names where one is unknown.
Query read_lisp(std::string_view text, const ReadOptions& options);

}  // namespace spnl
