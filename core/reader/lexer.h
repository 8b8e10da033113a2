#pragma once
#include <string>
#include <string_view>

#include "reader/source.h"

namespace spnl::reader {

enum class TokenKind { kOpen, kClose, kString, kRawString, kNumber, kSymbol, kEnd };

struct Token {
  TokenKind kind = TokenKind::kEnd;
  SourcePosition position;        ///< of the first character
  size_t offset = 0, length = 0;  ///< in bytes; of strings the part between the quotes
};

/// Cuts a text into tokens (language specification, section 3). next() throws Error(kBadQuery) at
/// the offending character; a string or comment without an end is reported where it begins.
class Lexer {
 public:
  /// Throws what Source::check() refuses.
  explicit Lexer(const Source& source);
  Token next();

 private:
  void advance();  ///< over one character
  void skip_blanks();
  void skip_block_comment();
  Token string(Token token);
  void escape(const Token& token);
  void unicode_escape(const Token& token);
  Token raw_string(Token token);
  Token number(Token token);
  void digits(const char* expected);
  bool more() const { return offset_ < source_.text.size(); }
  bool at(std::string_view text) const { return source_.text.substr(offset_, text.size()) == text; }
  bool at_digit() const;
  bool at_delimiter() const;
  std::string here() const;  ///< the character at hand, for messages

  const Source& source_;
  size_t offset_ = 0;
  SourcePosition position_{1, 1};
};

/// What the inside of a valid quoted string stands for.
std::string unescape(std::string_view inside);

}  // namespace spnl::reader
