#pragma once
#include <span>
#include <string_view>

namespace spnl {

/// A query that comes with the library, from core/builtins.
struct Builtin {
  std::string_view name, summary;
  std::string_view text;  ///< Lisp; its free symbols are those that a host binds
};

/// By name.
std::span<const Builtin> builtins();

}  // namespace spnl
