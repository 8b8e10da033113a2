#include "reader/lexer.h"

#include <charconv>

#include "util/text.h"

namespace spnl::reader {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}
bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

}  // namespace

Lexer::Lexer(const Source& source) : source_(source) {
  source_.check();
  if (at(kByteOrderMark)) offset_ = kByteOrderMark.size();
}

void Lexer::advance() {
  const size_t length = text::character_at(source_.text, offset_).size();
  if (source_.text[offset_] == '\n')
    position_ = {position_.line + 1, 1};
  else
    ++position_.column;
  offset_ += length;
}

bool Lexer::at_digit() const {
  return more() && source_.text[offset_] >= '0' && source_.text[offset_] <= '9';
}

bool Lexer::at_delimiter() const {
  if (!more()) return true;
  const char c = source_.text[offset_];
  return is_space(c) || c == '(' || c == ')' || c == '"' || c == ';';
}

std::string Lexer::here() const {
  return more() ? text::quote(text::character_at(source_.text, offset_)) : "end of text";
}

void Lexer::skip_blanks() {
  while (more()) {
    if (is_space(source_.text[offset_])) {
      advance();
    } else if (source_.text[offset_] == ';') {
      while (more() && source_.text[offset_] != '\n') advance();
    } else if (at("#|")) {
      skip_block_comment();
    } else {
      return;
    }
  }
}

void Lexer::skip_block_comment() {
  const SourcePosition start = position_;
  size_t depth = 0;
  do {
    if (!more()) source_.fail(start, "a comment without end", "'|#'");
    if (at("#|") || at("|#")) {
      depth += at("#|") ? 1 : -1;
      advance();
    }
    advance();
  } while (depth > 0);
}

Token Lexer::next() {
  skip_blanks();
  Token token;
  token.position = position_;
  token.offset = offset_;
  if (!more()) return token;
  const char c = source_.text[offset_];
  if (c == '(' || c == ')') {
    token.kind = c == '(' ? TokenKind::kOpen : TokenKind::kClose;
    token.length = 1;
    advance();
    return token;
  }
  if (c == '"') return string(token);
  if (at("r\"") || at("r#\"")) return raw_string(token);
  const bool minus_digit = c == '-' && offset_ + 1 < source_.text.size() &&
                           source_.text[offset_ + 1] >= '0' && source_.text[offset_ + 1] <= '9';
  if (at_digit() || minus_digit) return number(token);
  token.kind = TokenKind::kSymbol;
  while (!at_delimiter()) advance();
  token.length = offset_ - token.offset;
  return token;
}

Token Lexer::string(Token token) {
  token.kind = TokenKind::kString;
  advance();
  token.offset = offset_;
  while (more() && source_.text[offset_] != '"') {
    if (source_.text[offset_] == '\\')
      escape(token);
    else
      advance();
  }
  if (!more()) source_.fail(token.position, "a string without end", "'\"'");
  token.length = offset_ - token.offset;
  advance();
  return token;
}

void Lexer::escape(const Token& token) {
  advance();
  if (!more()) source_.fail(token.position, "a string without end", "'\"'");
  const char c = source_.text[offset_];
  if (c == 'u') return unicode_escape(token);
  if (std::string_view("ntr0\\\"").find(c) == std::string_view::npos)
    source_.fail(position_, here() + " after '\\'", "one of n t r 0 \\ \" u{hex}");
  advance();
}

void Lexer::unicode_escape(const Token& token) {
  const auto end_check = [&] {
    if (!more()) source_.fail(token.position, "a string without end", "'\"'");
  };
  advance();
  end_check();
  if (!at("{")) source_.fail(position_, here(), "'{' after '\\u'");
  advance();
  const SourcePosition start = position_;
  uint32_t value = 0;
  size_t count = 0;
  for (; more() && is_hex(source_.text[offset_]); advance(), ++count) {
    const char c = source_.text[offset_];
    const uint32_t digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    value = value > 0x10FFFF ? value : value * 16 + digit;
  }
  end_check();
  if (count == 0) source_.fail(position_, here(), "a hexadecimal digit");
  if (!at("}")) source_.fail(position_, here(), "a hexadecimal digit or '}'");
  if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
    source_.fail(start, "the number of no character",
                 "a code point up to 10FFFF that is no surrogate");
  advance();
}

Token Lexer::raw_string(Token token) {
  token.kind = TokenKind::kRawString;
  const std::string_view end = at("r\"") ? "\"" : "\"#";
  for (size_t i = 0; i <= end.size(); ++i) advance();
  token.offset = offset_;
  while (more() && !at(end)) advance();
  if (!more()) source_.fail(token.position, "a string without end", text::quote(end));
  token.length = offset_ - token.offset;
  for (size_t i = 0; i < end.size(); ++i) advance();
  return token;
}

void Lexer::digits(const char* expected) {
  if (!at_digit()) source_.fail(position_, here(), expected);
  while (at_digit()) advance();
}

Token Lexer::number(Token token) {
  token.kind = TokenKind::kNumber;
  if (at("-")) advance();
  digits("a digit");
  if (at(".")) {
    advance();
    digits("a digit after '.'");
  }
  if (at("e")) {
    advance();
    if (at("-")) advance();
    digits("a digit or '-' after 'e'");
  }
  if (!at_delimiter()) source_.fail(position_, here(), "the end of the number");
  token.length = offset_ - token.offset;
  return token;
}

std::string unescape(std::string_view inside) {
  std::string out;
  out.reserve(inside.size());
  for (size_t i = 0; i < inside.size(); ++i) {
    if (inside[i] != '\\') {
      out += inside[i];
      continue;
    }
    switch (inside[++i]) {
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      case 'r':
        out += '\r';
        break;
      case '0':
        out += '\0';
        break;
      case 'u': {
        const size_t end = inside.find('}', i);
        uint32_t value = 0;
        std::from_chars(inside.data() + i + 2, inside.data() + end, value, 16);
        text::append_utf8(out, value);
        i = end;
        break;
      }
      default:
        out += inside[i];
    }
  }
  return out;
}

}  // namespace spnl::reader
