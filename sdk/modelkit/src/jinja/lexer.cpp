#include "jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "jinja/unicode.h"
#include "jinja/value.h"

namespace spnl::modelkit::jinja {

void fail_syntax(const Token& at, const std::string& message) {
  fail("template line " + std::to_string(at.line) + ", column " + std::to_string(at.column) + ": " +
       message);
}

namespace {

/// Line ends become \n and one final line end is dropped, as jinja2 does before anything else.
std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      out += '\n';
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool name_char(char c) {
  auto u = static_cast<uint8_t>(c);
  return u >= 128 || u == '_' || (u >= '0' && u <= '9') || ((u | 32) >= 'a' && (u | 32) <= 'z');
}
bool digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : text_(normalized(source)), src_(text_) {}

  std::vector<Token> run() {
    while (pos_ < src_.size()) root();
    push(Tok::kEnd, pos_);
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail_at(size_t pos, const std::string& message) {
    Token t;
    locate(t, pos);
    fail_syntax(t, message);
  }

  void locate(Token& t, size_t pos) {
    // Tokens come in order, so counting on from the last position keeps this linear.
    if (pos < seen_) seen_ = 0, line_ = column_ = 1;
    for (; seen_ < pos; ++seen_) {
      if (src_[seen_] == '\n') {
        ++line_, column_ = 1;
      } else if ((static_cast<uint8_t>(src_[seen_]) & 0xC0) != 0x80) {
        ++column_;
      }
    }
    t.line = line_;
    t.column = column_;
  }

  Token& push(Tok type, size_t pos, std::string text = {}) {
    Token t;
    t.type = type;
    t.text = std::move(text);
    locate(t, pos);
    out_.push_back(std::move(t));
    return out_.back();
  }

  bool at(size_t pos, std::string_view what) const { return src_.substr(pos, what.size()) == what; }

  size_t skip_space(size_t pos) const {
    while (pos < src_.size()) {
      size_t next = pos;
      if (!is_space(next_char(src_, next))) break;
      pos = next;
    }
    return pos;
  }

  /// The end of a block tag at `pos`: +%} or -%} and white space or %} and one line end. npos if
  /// none.
  size_t block_close(size_t pos, std::string_view close) const {
    if (at(pos, "+") && at(pos + 1, close)) return pos + 3;
    if (at(pos, "-") && at(pos + 1, close)) return skip_space(pos + 3);
    if (!at(pos, close)) return src_.npos;
    return at(pos + 2, "\n") ? pos + 3 : pos + 2;
  }

  /// Text before a tag, with what the tag's sign or lstrip_blocks removes taken off.
  void data(size_t begin, size_t end, char sign, bool variable) {
    std::string_view text = src_.substr(begin, end - begin);
    if (sign == '-') {
      text = strip(text, false, true);
    } else if (sign != '+' && !variable) {
      size_t line = text.rfind('\n') + 1;  // npos + 1 is 0
      std::string_view rest = text.substr(line);
      if ((line > 0 || line_starting_) && !rest.empty() && strip(rest, true, false).empty()) {
        text = text.substr(0, line);
      }
    }
    if (!text.empty()) push(Tok::kData, begin, std::string(text));
  }

  void advance(size_t pos) {
    line_starting_ = pos > 0 && src_[pos - 1] == '\n';
    pos_ = pos;
  }

  void root() {
    size_t open = pos_;
    for (;; ++open) {
      open = src_.find('{', open);
      if (open == src_.npos || open + 1 >= src_.size()) {
        push(Tok::kData, pos_, std::string(src_.substr(pos_)));
        pos_ = src_.size();
        return;
      }
      char kind = src_[open + 1];
      if (kind == '%' || kind == '{' || kind == '#') break;
    }
    char kind = src_[open + 1];
    size_t inner = open + 2;
    char sign = inner < src_.size() && (src_[inner] == '-' || src_[inner] == '+') ? src_[inner] : 0;
    if (sign) ++inner;
    data(pos_, open, sign, kind == '{');
    size_t raw = kind == '%' ? raw_open(inner) : src_.npos;
    advance(inner);
    if (kind == '#') {
      comment(open);
    } else if (raw != src_.npos) {
      advance(raw);
      raw_block(open);
    } else {
      tag(open, kind == '{');
    }
  }

  size_t raw_open(size_t pos) const {
    pos = skip_space(pos);
    if (!at(pos, "raw")) return src_.npos;
    pos = skip_space(pos + 3);
    if (at(pos, "-%}")) return skip_space(pos + 3);
    return at(pos, "%}") ? pos + 2 : src_.npos;
  }

  void comment(size_t open) {
    size_t end = src_.find("#}", pos_);
    if (end == src_.npos) fail_at(open, "Missing end of comment tag");
    if (end > pos_ && (src_[end - 1] == '+' || src_[end - 1] == '-')) --end;
    advance(block_close(end, "#}"));
  }

  void raw_block(size_t open) {
    for (size_t at_pos = pos_; (at_pos = src_.find("{%", at_pos)) != src_.npos; ++at_pos) {
      size_t p = at_pos + 2;
      char sign = p < src_.size() && (src_[p] == '-' || src_[p] == '+') ? src_[p] : 0;
      p = skip_space(sign ? p + 1 : p);
      if (!at(p, "endraw")) continue;
      size_t close = block_close(skip_space(p + 6), "%}");
      if (close == src_.npos) continue;
      data(pos_, at_pos, sign, false);
      advance(close);
      return;
    }
    fail_at(open, "Missing end of raw directive");
  }

  void tag(size_t open, bool variable) {
    push(variable ? Tok::kVariableBegin : Tok::kBlockBegin, open);
    std::string brackets;
    for (;;) {
      if (brackets.empty()) {
        size_t close = variable ? variable_close() : block_close(pos_, "%}");
        if (close != src_.npos) {
          push(variable ? Tok::kVariableEnd : Tok::kBlockEnd, pos_);
          advance(close);
          return;
        }
      }
      pos_ = skip_space(pos_);
      if (pos_ >= src_.size()) {
        return;  // the parser reports the missing end
      }
      if (brackets.empty() &&
          (variable ? variable_close() : block_close(pos_, "%}")) != src_.npos) {
        continue;
      }
      token(brackets);
    }
  }

  size_t variable_close() const {
    if (at(pos_, "-}}")) return skip_space(pos_ + 3);
    return at(pos_, "}}") ? pos_ + 2 : src_.npos;
  }

  void token(std::string& brackets) {
    char c = src_[pos_];
    if (digit(c)) return number();
    if (name_char(c)) {
      size_t end = pos_;
      while (end < src_.size() && name_char(src_[end])) ++end;
      push(Tok::kName, pos_, std::string(src_.substr(pos_, end - pos_)));
      pos_ = end;
      return;
    }
    if (c == '\'' || c == '"') return string();
    op(brackets);
  }

  void op(std::string& brackets) {
    static constexpr std::string_view kTwo[] = {"//", "**", "==", "!=", ">=", "<="};
    std::string_view text = src_.substr(pos_, 1);
    for (std::string_view two : kTwo) {
      if (at(pos_, two)) text = two;
    }
    if (text.size() == 1 && std::string_view("+-/*%~[](){}><=.:|,;").find(text[0]) == text.npos) {
      size_t p = pos_;
      std::string shown;
      append_char(shown, next_char(src_, p));
      fail_at(pos_, "unexpected char '" + shown + "'");
    }
    char c = text[0];
    if (c == '(' || c == '[' || c == '{') brackets += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (brackets.empty()) fail_at(pos_, std::string("unexpected '") + c + "'");
      if (brackets.back() != c) {
        fail_at(pos_, std::string("unexpected '") + c + "', expected '" + brackets.back() + "'");
      }
      brackets.pop_back();
    }
    push(Tok::kOperator, pos_, std::string(text));
    pos_ += text.size();
  }

  /// Digits with single underscores between them; returns the end, or `pos` when there are none.
  template <class Test>
  size_t digits(size_t pos, Test test) const {
    size_t end = pos;
    while (end < src_.size() &&
           (test(src_[end]) ||
            (src_[end] == '_' && end > pos && end + 1 < src_.size() && test(src_[end + 1])))) {
      ++end;
    }
    return end;
  }

  void number() {
    size_t whole = digits(pos_, digit), end = whole;
    bool is_float = false;
    if (pos_ == 0 || src_[pos_ - 1] != '.') {
      if (at(end, ".") && end + 1 < src_.size() && digit(src_[end + 1])) {
        end = digits(end + 1, digit);
        is_float = true;
      }
      if (end < src_.size() && (src_[end] | 32) == 'e') {
        size_t exp = end + 1;
        if (exp < src_.size() && (src_[exp] == '+' || src_[exp] == '-')) ++exp;
        if (exp < src_.size() && digit(src_[exp])) {
          end = digits(exp, digit);
          is_float = true;
        }
      }
    }
    if (!is_float) return integer(whole);
    Token& t = push(Tok::kFloat, pos_, plain(end));
    t.number = std::strtod(t.text.c_str(), nullptr);
    pos_ = end;
  }

  std::string plain(size_t end) const {
    std::string text(src_.substr(pos_, end - pos_));
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    return text;
  }

  void integer(size_t end) {
    int base = 10;
    char mark = pos_ + 1 < src_.size() ? static_cast<char>(src_[pos_ + 1] | 32) : ' ';
    if (src_[pos_] == '0' && (mark == 'x' || mark == 'o' || mark == 'b')) {
      auto valid = [&](char c) {
        if (mark == 'b') return c == '0' || c == '1';
        if (mark == 'o') return c >= '0' && c <= '7';
        return digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'f');
      };
      size_t start = pos_ + 2;
      if (at(start, "_")) ++start;
      size_t stop = digits(start, valid);
      if (stop > start) {
        base = mark == 'b' ? 2 : mark == 'o' ? 8 : 16;
        end = stop;
      }
    }
    if (base == 10 && src_[pos_] == '0') {  // a decimal may not start with 0 unless it is all zeros
      end = digits(pos_, [](char c) { return c == '0'; });
    }
    std::string text = plain(end);
    const char* first = text.c_str() + (base == 10 ? 0 : 2);
    Token& t = push(Tok::kInteger, pos_, text);
    auto [stop, error] = std::from_chars(first, text.c_str() + text.size(), t.integer, base);
    if (error != std::errc() || *stop) fail_at(pos_, "integer does not fit in 64 bits");
    pos_ = end;
  }

  void string() {
    char quote = src_[pos_];
    size_t begin = pos_ + 1, end = begin;
    while (end < src_.size() && src_[end] != quote) end += src_[end] == '\\' ? 2 : 1;
    if (end >= src_.size()) fail_at(pos_, "unterminated string");
    push(Tok::kString, pos_, unescape(begin, end));
    pos_ = end + 1;
  }

  std::string unescape(size_t begin, size_t end) {
    static constexpr std::string_view kFrom = "\\'\"abfnrtv", kTo = "\\'\"\a\b\f\n\r\t\v";
    std::string out;
    for (size_t i = begin; i < end; ++i) {
      if (src_[i] != '\\') {
        out += src_[i];
        continue;
      }
      char c = src_[++i];
      size_t simple = kFrom.find(c);
      if (simple != kFrom.npos) {
        out += kTo[simple];
      } else if (c == '\n') {
        continue;
      } else if (c >= '0' && c <= '7') {
        char32_t code = 0;
        size_t stop = std::min(end, i + 3);
        while (i < stop && src_[i] >= '0' && src_[i] <= '7') code = code * 8 + (src_[i++] - '0');
        --i;
        append_char(out, code);
      } else if (c == 'x' || c == 'u' || c == 'U') {
        append_char(out, hex(i + 1, end, c == 'x' ? 2 : c == 'u' ? 4 : 8));
        i += c == 'x' ? 2 : c == 'u' ? 4 : 8;
      } else if (c == 'N') {
        fail_at(i, "named characters (\\N) are not supported");
      } else {  // Python keeps an unknown escape as it stands
        out += '\\';
        out += c;
      }
    }
    return out;
  }

  char32_t hex(size_t pos, size_t end, size_t count) {
    uint32_t code = 0;
    const char* first = src_.data() + pos;
    if (pos + count > end) fail_at(pos, "truncated escape sequence");
    auto [stop, error] = std::from_chars(first, first + count, code, 16);
    if (error != std::errc() || stop != first + count) fail_at(pos, "truncated escape sequence");
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
      fail_at(pos, "illegal Unicode character");
    return code;
  }

  std::string text_;
  std::string_view src_;
  size_t pos_ = 0;
  bool line_starting_ = true;
  size_t seen_ = 0;  ///< line_ and column_ are those of this position
  uint32_t line_ = 1, column_ = 1;
  std::vector<Token> out_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  if (!is_valid_utf8(source)) fail("template is not valid UTF-8");
  return Lexer(source).run();
}

}  // namespace spnl::modelkit::jinja
