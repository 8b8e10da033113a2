// Filters on numbers.
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "jinja/filters.h"
#include "jinja/methods.h"
#include "jinja/ops.h"
#include "jinja/repr.h"
#include "jinja/unicode.h"

namespace spnl::modelkit::jinja {

namespace {

/// Text as int() and float() read it: trimmed, single underscores between digits dropped.
bool clean_number(std::string_view s, std::string& out) {
  s = strip(s, true, true);
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '_') {
      bool inner = i > 0 && i + 1 < s.size() &&
                   std::isalnum(static_cast<unsigned char>(s[i - 1])) &&
                   std::isalnum(static_cast<unsigned char>(s[i + 1]));
      if (!inner) return false;
      continue;
    }
    out += s[i];
  }
  return !out.empty();
}

bool parse_int(std::string_view s, int64_t base, int64_t& value) {
  std::string text;
  if (!clean_number(s, text)) return false;
  bool negative = text[0] == '-';
  if (negative || text[0] == '+') text.erase(0, 1);
  if (text.size() > 2 && text[0] == '0') {
    char mark = static_cast<char>(text[1] | 32);
    int64_t of = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (of && (base == of || base == 0)) {
      text.erase(0, 2);
      base = of;
    }
  }
  if (base == 0) base = 10;
  if (base < 2 || base > 36 || text.empty() || text[0] == '-') return false;
  if (negative) text.insert(0, "-");
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, static_cast<int>(base));
  if (error == std::errc::result_out_of_range) fail("integer does not fit in 64 bits");
  return error == std::errc() && end == text.data() + text.size();
}

bool parse_float(std::string_view s, double& value) {
  std::string text;
  if (!clean_number(s, text)) return false;
  std::string word = to_lower(text);
  size_t sign = word[0] == '-' || word[0] == '+';
  std::string_view rest = std::string_view(word).substr(sign);
  if (rest == "inf" || rest == "infinity" || rest == "nan") {
    value = rest == "nan" ? NAN : INFINITY;
    if (word[0] == '-') value = -value;
    return true;
  }
  if (rest.empty() || rest.find_first_not_of("0123456789.e+-") != rest.npos) return false;
  char* end = nullptr;
  value = std::strtod(text.c_str(), &end);
  return *end == 0;
}

bool float_to_int(double d, Value& out) {
  if (!std::isfinite(d)) return false;
  if (!(std::fabs(d) < 9223372036854775808.0)) fail("integer does not fit in 64 bits");
  out = Value(static_cast<int64_t>(d));
  return true;
}

Value int_filter(Runtime&, const Value& v, Args& args) {
  Bound b("int", args, {"default", "base"});
  Value fallback = b.get(0, Value(0)), out;
  if (v.is_undefined()) fail(v.as<Undef>().message);
  if (v.is_int()) return Value(v.as_int());
  if (v.is(Kind::kBigInt)) return v;
  if (v.is(Kind::kFloat)) {
    if (std::isinf(v.as_float())) fail("cannot convert float infinity to integer");
    return float_to_int(v.as_float(), out) ? out : fallback;
  }
  if (!v.is_string()) return fallback;
  int64_t i;
  if (parse_int(v.text(), b.integer(1, 10), i)) return Value(i);
  double d;
  if (parse_float(v.text(), d) && float_to_int(d, out)) return out;
  return fallback;
}

Value float_filter(Runtime&, const Value& v, Args& args) {
  Bound b("float", args, {"default"});
  if (v.is_undefined()) fail(v.as<Undef>().message);
  if (v.is_number()) return Value(v.to_double());
  double d;
  if (v.is_string() && parse_float(v.text(), d)) return Value(d);
  return b.get(0, Value(0.0));
}

Value abs_filter(Runtime&, const Value& v, Args& args) {
  Bound b("abs", args, {});
  if (v.is_int()) return v.as_int() < 0 ? negate(v) : Value(v.as_int());
  if (v.is(Kind::kFloat)) return Value(std::fabs(v.as_float()));
  if (v.is_undefined()) fail(v.as<Undef>().message);
  fail("bad operand type for abs(): '" + type_name(v) + "'");
}

/// Python rounds the decimal form correctly, half to even: so does printf.
double round_float(double d, int64_t places) {
  if (!std::isfinite(d) || places > 300) return d;
  if (places < -310) return std::copysign(0.0, d);
  if (places < 0) {
    double scale = std::pow(10.0, static_cast<double>(-places));
    return std::nearbyint(d / scale) * scale;
  }
  char buffer[800];
  std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(places), d);
  return std::strtod(buffer, nullptr);
}

Value round_int(int64_t v, int64_t places) {
  if (places >= 0) return Value(v);
  if (places < -18) return Value(0);
  int64_t scale = power(Value(10), Value(-places)).as_int();
  int64_t rest = v % scale;
  if (rest < 0) rest += scale;
  int64_t down = v - rest;
  bool up = rest > scale - rest || (rest == scale - rest && (down / scale) % 2 != 0);
  return Value(up ? checked_add(down, scale) : down);
}

Value round_filter(Runtime&, const Value& v, Args& args) {
  Bound b("round", args, {"precision", "method"});
  std::string method = b.has(1) ? to_text(b[1]) : "common";
  if (method != "common" && method != "ceil" && method != "floor") {
    fail("method must be common, ceil or floor");
  }
  int64_t places = b.integer(0, 0);
  if (v.is_undefined()) fail(v.as<Undef>().message);
  if (!v.is_int() && !v.is(Kind::kFloat))
    fail("type " + type_name(v) + " doesn't define __round__ method");
  if (method == "common") {
    return v.is_int() ? round_int(v.as_int(), places) : Value(round_float(v.as_float(), places));
  }
  Value scale = power(Value(10), Value(places));
  Value scaled = binary('*', v, scale);
  double d = scaled.to_double();
  Value whole;
  if (!float_to_int(method == "ceil" ? std::ceil(d) : std::floor(d), whole))
    fail("cannot round this number");
  return binary('/', whole, scale);
}

Value file_size(Runtime&, const Value& v, Args& args) {
  Bound b("filesizeformat", args, {"binary"});
  bool binary_units = b.flag(0, false);
  double bytes = 0;
  if (v.is_number()) {
    bytes = v.to_double();
  } else if (!v.is_string() || !parse_float(v.text(), bytes)) {
    fail("filesizeformat needs a number");
  }
  double base = binary_units ? 1024 : 1000;
  if (bytes == 1) return Value("1 Byte");
  char text[400];
  if (bytes < base) {
    std::snprintf(text, sizeof text, "%.0f Bytes", std::trunc(bytes));
    return Value(text);
  }
  double unit = base;
  int i = 0;
  do {
    unit *= base;
  } while (bytes >= unit && ++i < 8);
  if (i == 8) i = 7, unit = std::pow(base, 9);
  std::snprintf(text, sizeof text, "%.1f %c%sB", base * bytes / unit, "kMGTPEZY"[i],
                binary_units ? "i" : "");
  if (binary_units && i == 0) *std::strchr(text, 'k') = 'K';
  return Value(text);
}

constexpr FilterEntry kFilters[] = {
    {"int", int_filter},     {"float", float_filter},       {"abs", abs_filter},
    {"round", round_filter}, {"filesizeformat", file_size},
};

}  // namespace

FilterFn find_number_filter(std::string_view name) { return look_up_filter(kFilters, name); }

}  // namespace spnl::modelkit::jinja
