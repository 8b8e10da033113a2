#include "jinja/format.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "jinja/budget.h"
#include "jinja/repr.h"
#include "jinja/runtime.h"
#include "jinja/unicode.h"

namespace spnl::modelkit::jinja {

namespace {

constexpr int64_t kMaxPrecision = 400;

std::string float_digits(double d, char type, int precision, bool alternate) {
  std::string format = alternate ? "%#.*" : "%.*";
  format += type;
  char buffer[800];
  int n = std::snprintf(buffer, sizeof buffer, format.c_str(), precision, d);
  return std::string(buffer, static_cast<size_t>(std::clamp(n, 0, 799)));
}

std::string integer_digits(uint64_t u, unsigned base, bool upper) {
  const std::string_view digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string out;
  do {
    out += digits[u % base];
  } while (u /= base);
  return {out.rbegin(), out.rend()};
}

void group_digits(std::string& digits, char separator, size_t every) {
  size_t end = 0;
  while (end < digits.size() && std::isxdigit(static_cast<unsigned char>(digits[end]))) ++end;
  for (size_t at = end; at > every;) digits.insert(at -= every, 1, separator);
}

std::string general(double d,
                    const NumberSpec& s) {  // no type: like repr, or like g with a precision
  if (!s.has_precision) return float_repr(d);
  int precision = static_cast<int>(std::max<int64_t>(s.precision, 1));
  std::string text = float_digits(d, 'g', precision, s.alternate);
  if (text.find_first_of(".en") == text.npos) text += ".0";
  return text;
}

}  // namespace

std::string pad(const std::string& body, const NumberSpec& s, char default_align) {
  int64_t missing = s.width - static_cast<int64_t>(char_count(body));
  if (missing <= 0) return body;
  if (missing > static_cast<int64_t>(kMaxText / 4)) check_text(kMaxText + 1);
  spend_text(static_cast<size_t>(missing));
  auto fill = [&](int64_t n) {
    std::string out;
    for (int64_t i = 0; i < n; ++i) out += s.fill;
    return out;
  };
  char align = s.align ? s.align : default_align;
  if (align == '<') return body + fill(missing);
  if (align == '^') return fill(missing / 2) + body + fill(missing - missing / 2);
  if (align == '=') {
    size_t at = !body.empty() && std::string_view("+- ").find(body[0]) != std::string_view::npos;
    if (body.size() > at + 1 && body[at] == '0' &&
        std::isalpha(static_cast<unsigned char>(body[at + 1])))
      at += 2;
    return body.substr(0, at) + fill(missing) + body.substr(at);
  }
  return fill(missing) + body;
}

std::string format_number(const Value& v, const NumberSpec& s) {
  if (s.has_precision && s.precision > kMaxPrecision) fail("precision is too large");
  std::string digits, prefix;
  bool negative = false;
  if (v.is_int() &&
      (s.type == 0 || std::string_view("dnbcoxX").find(s.type) != std::string_view::npos)) {
    int64_t i = v.as_int();
    if (s.type == 'c') {
      if (i < 0 || i > 0x10FFFF || (i >= 0xD800 && i < 0xE000))
        fail("%c arg not in range(0x110000)");
      append_char(digits, static_cast<char32_t>(i));
      return pad(digits, s, '<');
    }
    negative = i < 0;
    unsigned base = s.type == 'b'                    ? 2
                    : s.type == 'o'                  ? 8
                    : s.type == 'x' || s.type == 'X' ? 16
                                                     : 10;
    digits = integer_digits(negative ? 0 - static_cast<uint64_t>(i) : static_cast<uint64_t>(i),
                            base, s.type == 'X');
    if (s.group) group_digits(digits, s.group, base == 10 ? 3 : 4);
    if (s.alternate && base != 10) prefix = std::string("0") + s.type;
  } else {
    double d = v.to_double();
    negative = std::signbit(d) && !std::isnan(d);
    d = std::fabs(d);
    char type = s.type == '%' ? 'f' : s.type;
    if (s.type == '%') d *= 100;
    if (type == 0) {
      digits = general(d, s);
    } else if (std::isfinite(d)) {
      if (type == 'n') type = 'g';
      digits = float_digits(d, type, static_cast<int>(s.precision), s.alternate);
    } else {
      digits = std::isnan(d) ? "nan" : "inf";
      if (type < 'a') digits = to_upper(digits);
    }
    if (s.group) group_digits(digits, s.group, 3);
    if (s.type == '%') digits += '%';
  }
  std::string sign = negative ? "-" : s.sign == '+' ? "+" : s.sign == ' ' ? " " : "";
  return pad(sign + prefix + digits, s, '>');
}

std::string format_value(const Value& v, std::string_view spec) {
  if (spec.empty()) return to_text(v);
  if (!v.is_number() && !v.is_string())
    fail("unsupported format string passed to " + type_name(v) + ".__format__");
  NumberSpec s;
  size_t i = 0;
  auto is_align = [&](size_t at) {
    return at < spec.size() && std::string_view("<>^=").find(spec[at]) != std::string_view::npos;
  };
  size_t first = std::min(char_bytes(spec[0]), spec.size());
  if (is_align(first)) {
    s.fill = std::string(spec.substr(0, first));
    s.align = spec[first];
    i = first + 1;
  } else if (is_align(0)) {
    s.align = spec[i++];
  }
  if (i < spec.size() && std::string_view("+- ").find(spec[i]) != std::string_view::npos)
    s.sign = spec[i++];
  if (i < spec.size() && spec[i] == '#') s.alternate = true, ++i;
  if (i < spec.size() && spec[i] == '0') {
    if (!s.align) {
      s.fill = "0";
      s.align = v.is_string() ? '<' : '=';
    }
    ++i;
  }
  auto number = [&] {
    int64_t n = 0;
    while (i < spec.size() && spec[i] >= '0' && spec[i] <= '9') {
      n = n * 10 + (spec[i++] - '0');
      if (n > static_cast<int64_t>(kMaxText)) fail_limit("format width is too large");
    }
    return n;
  };
  s.width = number();
  if (i < spec.size() && (spec[i] == ',' || spec[i] == '_')) s.group = spec[i++];
  if (i < spec.size() && spec[i] == '.') {
    ++i;
    if (i >= spec.size() || spec[i] < '0' || spec[i] > '9')
      fail("Format specifier missing precision");
    s.has_precision = true;
    s.precision = number();
  }
  if (i < spec.size()) s.type = spec[i++];
  if (i < spec.size()) fail("Invalid format specifier");
  if (v.is_string()) {
    if ((s.type && s.type != 's') || s.sign != '-' || s.group)
      fail("Unknown format code for object of type 'str'");
    if (s.align == '=') fail("'=' alignment not allowed in string format specifier");
    std::string text = v.text();
    if (s.has_precision) {
      std::u32string chars = decode(text);
      text = encode(std::u32string_view(chars).substr(0, static_cast<size_t>(s.precision)));
    }
    return pad(text, s, '<');
  }
  static constexpr std::string_view kInt = "bcdoxXneEfFgG%", kFloat = "neEfFgG%";
  if (v.is(Kind::kBigInt)) return pad(to_text(v), s, '>');
  if (s.type && (v.is_int() ? kInt : kFloat).find(s.type) == std::string_view::npos) {
    fail(std::string("Unknown format code '") + s.type + "' for object of type '" + type_name(v) +
         "'");
  }
  if (v.is_int() && s.has_precision &&
      (!s.type || std::string_view("bcdoxX").find(s.type) != std::string_view::npos)) {
    fail("Precision not allowed in integer format specifier");
  }
  return format_number(v, s);
}

namespace {

class PercentFormat {
 public:
  PercentFormat(const std::string& format, const Value& args) : f_(format), args_(args) {
    tuple_ = args.is(Kind::kTuple);
  }

  std::string run() {
    std::string out;
    for (size_t i = 0; i < f_.size();) {
      if (f_[i] != '%') {
        out += f_[i++];
        continue;
      }
      out += directive(++i);
      check_text(out.size());
    }
    bool unused = tuple_ ? next_ < args_.items().size()
                         : !next_ && !args_.is(Kind::kDict) && !args_.is(Kind::kList);
    if (unused) fail("not all arguments converted during string formatting");
    return out;
  }

 private:
  const Value& next() {
    if (tuple_) {
      if (next_ >= args_.items().size()) fail("not enough arguments for format string");
      return args_.items()[next_++];
    }
    if (next_++) fail("not enough arguments for format string");
    return args_;
  }

  int64_t number(size_t& i) {
    if (i < f_.size() && f_[i] == '*') {
      ++i;
      const Value& v = next();
      if (!v.is_int()) fail("* wants int");
      return v.as_int();
    }
    int64_t n = 0;
    while (i < f_.size() && f_[i] >= '0' && f_[i] <= '9') {
      n = n * 10 + (f_[i++] - '0');
      if (n > static_cast<int64_t>(kMaxText)) fail_limit("format width is too large");
    }
    return n;
  }

  std::string directive(size_t& i) {
    const Value* keyed = nullptr;
    if (i < f_.size() && f_[i] == '(') {
      size_t end = f_.find(')', i);
      if (end == f_.npos) fail("incomplete format key");
      if (!args_.is(Kind::kDict)) fail("format requires a mapping");
      keyed = args_.dict().find_text(std::string_view(f_).substr(i + 1, end - i - 1));
      if (!keyed) fail("KeyError: '" + f_.substr(i + 1, std::min<size_t>(end - i - 1, 60)) + "'");
      next_ = 1;
      i = end + 1;
    }
    NumberSpec s;
    bool zero = false;
    for (; i < f_.size(); ++i) {
      char c = f_[i];
      if (c == '-')
        s.align = '<';
      else if (c == '+')
        s.sign = '+';
      else if (c == ' ')
        s.sign = s.sign == '+' ? '+' : ' ';
      else if (c == '#')
        s.alternate = true;
      else if (c == '0')
        zero = true;
      else
        break;
    }
    s.width = number(i);
    if (s.width < 0) s.align = '<', s.width = -s.width;
    if (i < f_.size() && f_[i] == '.') {
      s.has_precision = true;
      s.precision = number(++i);
    }
    while (i < f_.size() && (f_[i] == 'l' || f_[i] == 'h' || f_[i] == 'L')) ++i;
    if (i >= f_.size()) fail("incomplete format");
    char type = f_[i++];
    if (type == '%') return "%";
    const Value& v = keyed ? *keyed : next();
    if (type == 's' || type == 'r' || type == 'a') {
      std::string text = type == 's' ? to_text(v) : repr(v);
      if (s.has_precision) {
        text = encode(std::u32string_view(decode(text))
                          .substr(0, static_cast<size_t>(std::max<int64_t>(s.precision, 0))));
      }
      return pad(text, s, '>');
    }
    if (type == 'c' && v.is_string()) {
      if (char_count(v.str()) != 1) fail("%c requires int or char");
      return pad(v.text(), s, '>');
    }
    if (!v.is_number()) {
      if (v.is_undefined()) fail(v.as<Undef>().message);
      fail(std::string("%") + type + " format: a number is required, not " + type_name(v));
    }
    if (zero && s.align != '<') s.fill = "0", s.align = '=';
    s.type = type == 'i' || type == 'u' ? 'd' : type;
    if (std::string_view("doxXceEfFgG").find(s.type) == std::string_view::npos)
      fail("unsupported format character");
    if (v.is(Kind::kBigInt)) return pad(to_text(v), s, '>');
    if (s.type == 'c') return pad(format_number(v, s), s, '>');
    if (std::string_view("doxX").find(s.type) != std::string_view::npos) return integer(v, s);
    return format_number(v, s);
  }

  static std::string integer(const Value& v, NumberSpec s) {
    Value whole = v;
    if (v.is(Kind::kFloat)) {
      if (s.type != 'd' || !(std::fabs(v.as_float()) < 9.2e18))
        fail("%d format: an integer is required");
      whole = Value(static_cast<int64_t>(v.as_float()));
    }
    if (!s.has_precision) return format_number(whole, s);
    NumberSpec inner;
    inner.type = s.type, inner.sign = s.sign, inner.alternate = s.alternate;
    inner.fill = "0", inner.align = '=';
    inner.width = s.precision + (whole.as_int() < 0 || s.sign != '-') +
                  (s.alternate && s.type != 'd' ? 2 : 0);
    return pad(format_number(whole, inner), s, '>');
  }

  const std::string& f_;
  const Value& args_;
  bool tuple_;
  size_t next_ = 0;
};

class StringFormat {
 public:
  StringFormat(Runtime& rt, const Args& args) : rt_(rt), args_(args) {}

  std::string run(std::string_view f, int level) {
    if (level > 2) fail("Max string recursion exceeded");
    std::string out;
    for (size_t i = 0; i < f.size();) {
      char c = f[i++];
      if ((c == '{' || c == '}') && i < f.size() && f[i] == c) {
        out += c;
        ++i;
      } else if (c == '}') {
        fail("Single '}' encountered in format string");
      } else if (c != '{') {
        out += c;
      } else {
        size_t end = i;
        for (int depth = 1; end < f.size(); ++end) {
          depth += f[end] == '{' ? 1 : f[end] == '}' ? -1 : 0;
          if (depth == 0) break;
        }
        if (end >= f.size())
          fail(i >= f.size() ? "Single '{' encountered in format string"
                             : "expected '}' before end of string");
        out += field(f.substr(i, end - i), level);
        check_text(out.size());
        i = end + 1;
      }
    }
    return out;
  }

 private:
  std::string field(std::string_view f, int level) {
    size_t brackets = 0, end = 0;
    while (end < f.size() && (brackets || (f[end] != '!' && f[end] != ':'))) {
      if (f[end] == '[') brackets = 1;
      if (f[end] == ']') brackets = 0;
      ++end;
    }
    std::string_view name = f.substr(0, end), rest = f.substr(end);
    char conversion = 0;
    if (!rest.empty() && rest[0] == '!') {
      if (rest.size() < 2 || (rest.size() > 2 && rest[2] != ':'))
        fail("expected ':' after conversion specifier");
      conversion = rest[1];
      rest.remove_prefix(2);
    }
    std::string spec = rest.empty() ? "" : run(rest.substr(1), level + 1);
    Value v = look_up(name);
    if (conversion == 's')
      v = Value(to_text(v));
    else if (conversion == 'r' || conversion == 'a')
      v = Value(repr(v));
    else if (conversion)
      fail("Unknown conversion specifier");
    return format_value(v, spec);
  }

  static bool all_digits(std::string_view s) {
    return !s.empty() && s.size() < 10 &&
           std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
  }

  Value look_up(std::string_view name) {
    size_t end = std::min(name.find_first_of(".["), name.size());
    std::string first(name.substr(0, end));
    Value v;
    if (first.empty() || all_digits(first)) {
      if (first.empty() ? manual_ : next_ > 0)
        fail("cannot mix manual and automatic field numbering");
      manual_ |= !first.empty();
      size_t i = first.empty() ? next_++ : static_cast<size_t>(std::stol(first));
      if (i >= args_.pos.size())
        fail("Replacement index " + std::to_string(i) + " out of range for positional args tuple");
      v = args_.pos[i];
    } else {
      auto at = std::find_if(args_.kw.begin(), args_.kw.end(),
                             [&](const auto& kw) { return kw.first == first; });
      if (at == args_.kw.end()) fail("KeyError: '" + first + "'");
      v = at->second;
    }
    for (size_t i = end; i < name.size();) {
      bool attr = name[i++] == '.';
      size_t stop = attr ? std::min(name.find_first_of(".[", i), name.size()) : name.find(']', i);
      if (stop == name.npos) fail("Missing ']' in format string");
      std::string part(name.substr(i, stop - i));
      if (part.empty()) fail("Empty attribute in format string");
      v = attr ? rt_.getattr(v, part)
               : rt_.getitem(v, all_digits(part) ? Value(static_cast<int64_t>(std::stol(part)))
                                                 : Value(part));
      i = attr ? stop : stop + 1;
    }
    return v;
  }

  Runtime& rt_;
  const Args& args_;
  size_t next_ = 0;
  bool manual_ = false;
};

}  // namespace

Value percent_format(const Value& format, const Value& args) {
  return Value(PercentFormat(format.text(), args).run());
}

std::string format_string(Runtime& rt, std::string_view format, const Args& args) {
  return StringFormat(rt, args).run(format, 1);
}

}  // namespace spnl::modelkit::jinja
