#pragma once
#include <string>
#include <string_view>

#include "spnl/query.h"

namespace spnl::reader {

inline constexpr size_t kLargestFile = 100'000'000;  ///< bytes of one query or included file
inline constexpr size_t kDeepestNesting = 10'000;    ///< forms inside forms
inline constexpr size_t kMostForms =
    20'000'000;  ///< strings, numbers, symbols and lists of one query

/// The text being read and how to complain about a place in it. Borrows the text.
struct Source {
  std::string_view text;
  std::string name;

  /// Throws Error(kBadQuery) "found X, expected Y" at `position`.
  [[noreturn]] void fail(SourcePosition position, const std::string& found,
                         const std::string& expected, const std::string& hint = "") const;
  /// The same with a message of another shape.
  [[noreturn]] void refuse(SourcePosition position, const std::string& message,
                           const std::string& hint = "") const;
};

}  // namespace spnl::reader
