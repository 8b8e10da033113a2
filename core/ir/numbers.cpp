#include "ir/numbers.h"

#include <charconv>

namespace spnl::ir {

std::string number_text(double value) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, static_cast<float>(value));
  std::string text(buffer, end.ptr);
  // The Lisp grammar of numbers has no plus sign; JSON and YAML can do without.
  if (const size_t plus = text.find('+'); plus != std::string::npos) text.erase(plus, 1);
  return text;
}

double rounded(double value) {
  const std::string text = number_text(value);
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value + 0.0;  // no negative zero
}

}  // namespace spnl::ir
