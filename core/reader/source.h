#pragma once
#include <string>
#include <string_view>

#include "spnl/query.h"

namespace spnl::reader {

inline constexpr size_t kLargestFile = 100'000'000;  ///< bytes of one query or included file
inline constexpr size_t kDeepestNesting = 10'000;    ///< forms inside forms
inline constexpr size_t kMostForms =
    20'000'000;  ///< strings, numbers, symbols and lists of one query

inline constexpr size_t kMostBytes = size_t{1} << 29;  ///< of what is made while reading

/// The text being read and how to complain about a place in it. Borrows the text.
struct Source {
  std::string_view text;
  std::string name;

  /// Refuses text of more than kLargestFile bytes, that is not UTF-8, or that holds a zero byte.
  void check() const;
  /// Throws Error(kBadQuery) "found X, expected Y" at `position`.
  [[noreturn]] void fail(SourcePosition position, const std::string& found,
                         const std::string& expected, const std::string& hint = "") const;
  /// The same with a message of another shape.
  [[noreturn]] void refuse(SourcePosition position, const std::string& message,
                           const std::string& hint = "") const;
};

inline constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

/// Where the character at byte `offset` of a text stands. A byte order mark at the start has no
/// column.
class PositionFinder {
 public:
  explicit PositionFinder(std::string_view text) : text_(text) {}
  /// Quick when the offsets asked for do not fall.
  SourcePosition at(size_t offset);

 private:
  std::string_view text_;
  size_t offset_ = 0;
  SourcePosition position_{1, 1};
};

}  // namespace spnl::reader
