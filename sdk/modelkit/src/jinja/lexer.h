#pragma once
// Splits a template into tokens with the whitespace rules of trim_blocks and lstrip_blocks applied.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace spnl::modelkit::jinja {

enum class Tok : uint8_t {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  Tok type = Tok::kEnd;
  uint32_t line = 1, column = 1;
  std::string text;  ///< decoded for strings; the operator's own characters for operators
  int64_t integer = 0;
  double number = 0;
};

/// Fails with line and column in the message.
std::vector<Token> tokenize(std::string_view source);

[[noreturn]] void fail_syntax(const Token& at, const std::string& message);

}  // namespace spnl::modelkit::jinja
