// From Oniguruma's Ruby syntax (its document RE) to PCRE2's. They agree in nearly all that
// tokenizers use; what differs is rewritten here.
#include <cstdint>
#include <vector>

#include "spnl/modelkit/error.h"
#include "tokenizer/regex.h"

namespace spnl::modelkit {
namespace {

// \s is White_Space; PCRE2's own would add U+180E. \w has marks and connectors, \h is a hex digit.
constexpr std::string_view kSpace = "\\t-\\r\\x{85}\\p{Z}";
constexpr std::string_view kWord =
    "\\p{L}\\p{M}\\p{Nl}\\p{Nd}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}"
    "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}";
constexpr std::string_view kHex = "0-9A-Fa-f";
constexpr size_t kDeepest = 64;
constexpr size_t kNone = SIZE_MAX;

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  std::string run() {
    std::vector<size_t> groups;  // where each open group began in the output
    size_t atom = kNone;         // where the last atom begins: what a quantifier repeats
    while (at_ < in_.size()) {
      const char c = in_[at_];
      const size_t start = out_.size();
      if (c == '(') {
        if (groups.size() >= 250) refuse("nests too deeply");
        groups.push_back(start);
        open_group();
        atom = kNone;
      } else if (c == ')') {
        out_ += c;
        ++at_;
        if (!groups.empty()) {
          atom = groups.back();
          groups.pop_back();
        }
      } else if (c == '[') {
        out_ += character_class(0);
        atom = start;
      } else if (c == '\\') {
        out_ += escape(false);
        atom = start;
      } else if (c == '{' && atom != kNone) {
        if (!interval(atom)) atom = start;
      } else {
        const bool atomic = c != '*' && c != '+' && c != '?' && c != '|';
        out_ += c;
        ++at_;
        if (atomic && (static_cast<unsigned char>(c) & 0xC0) != 0x80) atom = start;
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(ErrorCode::kUnsupported,
                "regular expression \"" + std::string(in_.substr(0, 80)) + "\": " + why);
  }

  // Ruby's option m lets a dot match a newline; PCRE2 calls that s.
  void open_group() {
    out_ += in_[at_++];
    if (at_ + 1 >= in_.size() || in_[at_] != '?') return;
    out_ += in_[at_++];
    while (at_ < in_.size() && (in_[at_] == '-' || (in_[at_] >= 'a' && in_[at_] <= 'z'))) {
      out_ += in_[at_] == 'm' ? 's' : in_[at_];
      ++at_;
    }
  }

  // {n,m}: a + after it repeats once more instead of being possessive; {,m} begins at 0.
  bool interval(size_t atom) {
    const size_t close = in_.find('}', at_);
    const std::string_view body =
        close == std::string_view::npos ? "" : in_.substr(at_ + 1, close - at_ - 1);
    if (body.empty() || body == "," ||
        body.find_first_not_of("0123456789,") != std::string_view::npos) {
      out_ += "\\{";
      ++at_;
      return false;
    }
    out_ += body[0] == ',' ? "{0" : "{";
    out_ += body;
    out_ += '}';
    at_ = close + 1;
    if (at_ < in_.size() && in_[at_] == '+') {
      out_.insert(atom, "(?:");
      out_ += ')';
    }
    return true;
  }

  std::string escape(bool in_class) {
    if (at_ + 1 >= in_.size()) refuse("ends in a backslash");
    const char c = in_[at_ + 1];
    at_ += 2;
    const auto set = [&](std::string_view members, bool complement) {
      if (in_class && !complement) return std::string(members);
      return (complement ? "[^" : "[") + std::string(members) + "]";
    };
    switch (c) {
      case 's':
        return set(kSpace, false);
      case 'w':
        return set(kWord, false);
      case 'h':
        return set(kHex, false);
      case 'S':
        return in_class ? "\\S" : set(kSpace, true);
      case 'W':
        return in_class ? "\\W" : set(kWord, true);
      case 'H':
        if (in_class) refuse("\\H in a class is not supported");
        return set(kHex, true);
      case 'u': {
        const std::string_view digits = in_.substr(at_, 4);
        if (digits.size() != 4) refuse("\\u needs four digits");
        at_ += 4;
        return "\\x{" + std::string(digits) + "}";
      }
      case 'p':
      case 'P':
        return property(c);
      default:
        return {'\\', c};
    }
  }

  // PCRE2 knows categories and scripts by Unicode's short names; the long ones are spelled here.
  std::string property(char kind) {
    if (at_ >= in_.size()) refuse("ends in \\p");
    if (in_[at_] != '{') return {'\\', kind, in_[at_++]};
    const size_t close = in_.find('}', at_);
    if (close == std::string_view::npos) refuse("has \\p without its end");
    std::string_view name = in_.substr(at_ + 1, close - at_ - 1);
    at_ = close + 1;
    bool complement = kind == 'P';
    if (name.substr(0, 1) == "^") {
      complement = !complement;
      name.remove_prefix(1);
    }
    constexpr std::pair<std::string_view, std::string_view> kNames[] = {
        {"Alpha", "L"},
        {"Letter", "L"},
        {"Mark", "M"},
        {"Number", "N"},
        {"Digit", "Nd"},
        {"Punctuation", "P"},
        {"Punct", "P"},
        {"Symbol", "S"},
        {"Upper", "Lu"},
        {"Lower", "Ll"},
        {"Space", "Xps"},
        {"Separator", "Z"},
        {"Alnum", "Xan"},
        {"Word", "Xwd"},
        {"Other", "C"},
        {"Uppercase_Letter", "Lu"},
        {"Lowercase_Letter", "Ll"},
    };
    for (const auto& [long_name, short_name] : kNames) {
      if (name == long_name) {
        name = short_name;
        break;
      }
    }
    return (complement ? "\\P{" : "\\p{") + std::string(name) + "}";
  }

  // A class may hold classes, and && intersects; PCRE2 has neither, so alternatives and
  // look-aheads say the same.
  std::string character_class(size_t depth) {
    if (depth > kDeepest) refuse("nests classes too deeply");
    ++at_;
    const bool complement = at_ < in_.size() && in_[at_] == '^';
    if (complement) ++at_;
    std::vector<std::string> operands(1);  // of &&: each one expression for one character
    std::string members;                   // plain ones of the operand at hand
    std::string nested;                    // its classes, as alternatives
    const auto close_operand = [&] {
      std::string& operand = operands.back();
      if (!members.empty()) operand = "[" + members + "]";
      if (!nested.empty()) operand = "(?:" + operand + (operand.empty() ? "" : "|") + nested + ")";
      if (operand.empty()) refuse("has an empty class");
      members.clear();
      nested.clear();
    };
    bool first = true;
    while (true) {
      if (at_ >= in_.size()) refuse("has a class without its end");
      const char c = in_[at_];
      if (c == ']' && !first) break;
      if (c == '[' && in_.substr(at_, 2) == "[:") {
        const size_t close = in_.find(":]", at_);
        if (close == std::string_view::npos) refuse("has a class without its end");
        members += in_.substr(at_, close + 2 - at_);
        at_ = close + 2;
      } else if (c == '[') {
        nested += (nested.empty() ? "" : "|") + character_class(depth + 1);
      } else if (c == '&' && in_.substr(at_, 2) == "&&") {
        at_ += 2;
        close_operand();
        operands.emplace_back();
      } else if (c == '\\') {
        members += escape(true);
      } else {
        if (c == ']') members += '\\';
        members += c;
        ++at_;
      }
      first = false;
    }
    ++at_;
    if (operands.size() == 1 && nested.empty() && !members.empty())
      return (complement ? "[^" : "[") + members + "]";
    close_operand();
    std::string all;
    for (size_t i = 0; i + 1 < operands.size(); ++i) all += "(?=" + operands[i] + ")";
    all += operands.back();
    return complement ? "(?:(?!" + all + ")(?s:.))" : "(?:" + all + ")";
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string translate_oniguruma(std::string_view pattern) { return Translator(pattern).run(); }

Regex regex_from_oniguruma(std::string_view pattern) {
  return Regex(translate_oniguruma(pattern), /*trusted=*/false, /*lines=*/true);
}

}  // namespace spnl::modelkit
