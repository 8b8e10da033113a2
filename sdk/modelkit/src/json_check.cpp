#include "json_check.h"

#include <algorithm>
#include <array>

namespace spnl::modelkit {
namespace {

constexpr size_t kDeepest = 64;  // our readers know few levels
constexpr size_t kLarge = 16 << 10;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Checker {
 public:
  explicit Checker(std::string_view text) : text_(text) {}

  JsonCheck run() {
    JsonCheck result;
    if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;  // byte order mark
    skip_blanks();
    result.root = at_;
    if (!values()) {
      result.error = std::string("bad JSON at byte ") + std::to_string(at_) + ": " + why_;
      return result;
    }
    std::sort(large_.begin(), large_.end(),
              [](const JsonExtent& a, const JsonExtent& b) { return a.begin < b.begin; });
    result.large = std::move(large_);
    return result;
  }

 private:
  struct Open {
    size_t begin, items;
    bool is_object;
    char closing() const { return is_object ? '}' : ']'; }
  };

  bool fail(const char* why) {
    why_ = why;
    return false;
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_blanks() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
      ++at_;
  }

  /// The whole text: one value, however deep.
  bool values() {
    for (;;) {
      const bool opens = peek() == '{' || peek() == '[';
      if (opens) {
        if (depth_ == kDeepest) return fail("nested too deeply");
        open_[depth_++] = {at_, 0, text_[at_] == '{'};
        ++at_;
        skip_blanks();
        if (peek() != open_[depth_ - 1].closing()) {
          if (!begin_item()) return false;
          continue;
        }
        close();
      } else if (!scalar()) {
        return false;
      }
      if (!close_full()) return false;
      if (depth_ == 0) {
        skip_blanks();
        return at_ == text_.size() || fail("text after the value");
      }
    }
  }

  /// After a value: the brackets that close with it, up to the next item or the end.
  bool close_full() {
    while (depth_ > 0) {
      Open& top = open_[depth_ - 1];
      ++top.items;
      skip_blanks();
      if (peek() == ',') {
        ++at_;
        skip_blanks();
        return begin_item();
      }
      if (peek() != top.closing())
        return fail(top.is_object ? "a comma or a closing brace is missing"
                                  : "a comma or a closing bracket is missing");
      close();
    }
    return true;
  }

  void close() {
    ++at_;
    const Open& top = open_[--depth_];
    if (at_ - top.begin >= kLarge) large_.push_back({top.begin, at_, top.items});
  }

  /// Of a member the name and colon.
  bool begin_item() {
    if (!open_[depth_ - 1].is_object) return true;
    if (peek() != '"') return fail("the name of a member is missing");
    if (!string()) return false;
    skip_blanks();
    if (peek() != ':') return fail("a colon is missing");
    ++at_;
    skip_blanks();
    return true;
  }

  bool scalar() {
    const char c = peek();
    if (c == '"') return string();
    if (c == '-' || is_digit(c)) return number();
    for (const std::string_view word : {"true", "false", "null", "NaN", "Infinity"})
      if (c == word[0] && take(word)) return true;
    return fail(at_ < text_.size() ? "no value" : "the text ends early");
  }

  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  bool digits() {
    const size_t begin = at_;
    while (is_digit(peek())) ++at_;
    return at_ > begin || fail("a digit is missing");
  }

  bool number() {
    if (peek() == '-') ++at_;
    if (peek() == 'I' && take("Infinity")) return true;
    const size_t first = at_;
    if (!digits()) return false;
    if (text_[first] == '0' && at_ > first + 1) return fail("a number begins with 0");
    if (peek() == '.') {
      ++at_;
      if (!digits()) return false;
    }
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      if (!digits()) return false;
    }
    return true;
  }

  bool string() {
    for (++at_;;) {
      at_ = plain_end(at_);
      if (at_ == text_.size()) return fail("a string does not end");
      if (text_[at_] == '"') break;
      if (text_[at_] != '\\') return fail("a control character in a string");
      if (!escape()) return false;
    }
    ++at_;
    return true;
  }

  /// The first place from `at` on where a string does not simply go on.
  size_t plain_end(size_t at) const {
    while (at < text_.size() && text_[at] != '"' && text_[at] != '\\' &&
           static_cast<unsigned char>(text_[at]) >= 0x20)
      ++at;
    return at;
  }

  bool escape() {
    ++at_;
    if (peek() != 'u') {
      constexpr std::string_view kShort = "\"\\/bfnrt";
      if (peek() == '\0' || kShort.find(peek()) == kShort.npos) return fail("an unknown escape");
      ++at_;
      return true;
    }
    ++at_;
    const int high = hex();
    if (high < 0) return fail("\\u without four hexadecimal digits");
    if (high < 0xD800 || high > 0xDFFF) return true;
    if (high > 0xDBFF || !take("\\u")) return fail("half of a surrogate pair");
    const int low = hex();
    return (low >= 0xDC00 && low <= 0xDFFF) || fail("half of a surrogate pair");
  }

  int hex() {
    int value = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      const int digit = is_digit(c)              ? c - '0'
                        : (c >= 'a' && c <= 'f') ? c - 'a' + 10
                        : (c >= 'A' && c <= 'F') ? c - 'A' + 10
                                                 : -1;
      if (digit < 0) return -1;
      value = value * 16 + digit;
    }
    return value;
  }

  std::string_view text_;
  size_t at_ = 0, depth_ = 0;
  std::array<Open, kDeepest> open_;
  std::vector<JsonExtent> large_;
  const char* why_ = "";
};

}  // namespace

JsonCheck check_json(std::string_view text) { return Checker(text).run(); }

}  // namespace spnl::modelkit
