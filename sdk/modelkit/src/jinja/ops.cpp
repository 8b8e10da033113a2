#include "jinja/ops.h"

#include <cmath>

#include "jinja/budget.h"
#include "jinja/format.h"
#include "jinja/iterate.h"
#include "jinja/repr.h"
#include "jinja/unicode.h"

namespace spnl::modelkit::jinja {

namespace {

[[noreturn]] void overflow() { fail("integer overflow: results are limited to 64 bits"); }

[[noreturn]] void unsupported(const char* op, const Value& a, const Value& b) {
  if (a.is_undefined()) fail(a.as<Undef>().message);
  if (b.is_undefined()) fail(b.as<Undef>().message);
  if (a.is(Kind::kBigInt) || b.is(Kind::kBigInt)) overflow();
  fail(std::string("unsupported operand type(s) for ") + op + ": '" + type_name(a) + "' and '" +
       type_name(b) + "'");
}

bool plain_number(const Value& v) { return v.is_int() || v.is(Kind::kFloat); }

Value repeat(const Value& v, int64_t count) {
  count = std::max<int64_t>(count, 0);
  if (v.is_string()) {
    const std::string& text = v.text();
    if (text.empty() || count == 0) return v.str().markup ? Value::markup("") : Value("");
    if (count > static_cast<int64_t>(kMaxText)) check_text(kMaxText + 1);
    spend_text(text.size() * static_cast<size_t>(count));
    std::string out;
    out.reserve(text.size() * static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) out += text;
    return v.str().markup ? Value::markup(std::move(out)) : Value(std::move(out));
  }
  const auto& items = v.items();
  std::vector<Value> out;
  if (!items.empty() && count > 0) {
    if (count > kMaxItems) spend_items(kMaxItems + 1);
    spend_items(static_cast<int64_t>(items.size()) * count);
    for (int64_t i = 0; i < count; ++i) out.insert(out.end(), items.begin(), items.end());
  }
  return v.is(Kind::kList) ? Value::list(std::move(out)) : Value::tuple(std::move(out));
}

Value multiply(const Value& a, const Value& b) {
  if (a.is_int() && b.is_int()) return Value(checked_mul(a.as_int(), b.as_int()));
  if (plain_number(a) && plain_number(b)) return Value(a.to_double() * b.to_double());
  if ((a.is_string() || a.is_sequence()) && b.is_int()) return repeat(a, b.as_int());
  if (a.is_int() && (b.is_string() || b.is_sequence())) return repeat(b, a.as_int());
  unsupported("*", a, b);
}

Value subtract(const Value& a, const Value& b) {
  if (a.is_int() && b.is_int()) {
    int64_t out;
    if (__builtin_sub_overflow(a.as_int(), b.as_int(), &out)) overflow();
    return Value(out);
  }
  if (plain_number(a) && plain_number(b)) return Value(a.to_double() - b.to_double());
  unsupported("-", a, b);
}

Value divide(const Value& a, const Value& b) {
  if (!plain_number(a) || !plain_number(b)) unsupported("/", a, b);
  if (b.to_double() == 0) fail("division by zero");
  return Value(a.to_double() / b.to_double());
}

double float_mod(double a, double b) {
  double m = std::fmod(a, b);
  if (m != 0) {
    if ((b < 0) != (m < 0)) m += b;
  } else {
    m = std::copysign(0.0, b);
  }
  return m;
}

Value floor_divide(const Value& a, const Value& b) {
  if (!plain_number(a) || !plain_number(b)) unsupported("//", a, b);
  if (b.to_double() == 0) fail("integer division or modulo by zero");
  if (a.is_int() && b.is_int()) {
    int64_t x = a.as_int(), y = b.as_int();
    if (y == -1) return negate(Value(x));
    int64_t q = x / y;
    if (x % y != 0 && (x < 0) != (y < 0)) --q;
    return Value(q);
  }
  double x = a.to_double(), y = b.to_double();
  double q = (x - float_mod(x, y)) / y;
  double floored = std::floor(q);
  if (q - floored > 0.5) floored += 1;
  return Value(q == 0 ? std::copysign(0.0, x / y) : floored);
}

Value modulo(const Value& a, const Value& b) {
  if (a.is_string()) return percent_format(a, b);
  if (!plain_number(a) || !plain_number(b)) unsupported("%", a, b);
  if (b.to_double() == 0) fail("integer modulo by zero");
  if (a.is_int() && b.is_int()) {
    int64_t y = b.as_int();
    if (y == -1) return Value(0);
    int64_t m = a.as_int() % y;
    return Value(m != 0 && (m < 0) != (y < 0) ? m + y : m);
  }
  return Value(float_mod(a.to_double(), b.to_double()));
}

/// Clamps one bound of a slice as CPython's PySlice_AdjustIndices does.
int64_t bound(const Value& v, int64_t size, int64_t low, int64_t high, int64_t missing) {
  if (v.is_none()) return missing;
  if (!v.is_int()) {
    fail("slice indices must be integers or None or have an __index__ method");
  }
  int64_t i = v.as_int();
  if (i < 0) i = i < -size ? low - 1 : i + size;
  return std::min(std::max(i, low), high);
}

}  // namespace

int64_t checked_add(int64_t a, int64_t b) {
  int64_t out;
  if (__builtin_add_overflow(a, b, &out)) overflow();
  return out;
}

int64_t checked_mul(int64_t a, int64_t b) {
  int64_t out;
  if (__builtin_mul_overflow(a, b, &out)) overflow();
  return out;
}

std::string escape_html(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  for (char c : s) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

Value add(const Value& a, const Value& b) {
  if (a.is_int() && b.is_int()) return Value(checked_add(a.as_int(), b.as_int()));
  if (plain_number(a) && plain_number(b)) return Value(a.to_double() + b.to_double());
  if (a.is_string() && b.is_string()) {
    spend_text(a.text().size() + b.text().size());
    if (!a.str().markup && !b.str().markup) return Value(a.text() + b.text());
    // text marked as safe escapes what is added to it
    return Value::markup((a.str().markup ? a.text() : escape_html(a.text())) +
                         (b.str().markup ? b.text() : escape_html(b.text())));
  }
  if (a.is_sequence() && a.kind() == b.kind()) {
    spend_items(static_cast<int64_t>(a.items().size() + b.items().size()));
    std::vector<Value> out = a.items();
    out.insert(out.end(), b.items().begin(), b.items().end());
    return a.is(Kind::kList) ? Value::list(std::move(out)) : Value::tuple(std::move(out));
  }
  if (a.is_string() && !b.is_undefined()) {
    fail("can only concatenate str (not \"" + type_name(b) + "\") to str");
  }
  unsupported("+", a, b);
}

Value power(const Value& a, const Value& b) {
  if (!plain_number(a) || !plain_number(b)) unsupported("** or pow()", a, b);
  if (a.is_int() && b.is_int() && b.as_int() >= 0) {
    int64_t base = a.as_int(), exp = b.as_int(), out = 1;
    if (base == 0 || base == 1) return Value(exp == 0 ? int64_t{1} : base);
    if (base == -1) return Value(exp % 2 ? -1 : 1);
    if (exp > 63) overflow();
    for (; exp > 0; --exp) out = checked_mul(out, base);
    return Value(out);
  }
  double x = a.to_double(), y = b.to_double();
  if (x == 0 && y < 0) fail("0.0 cannot be raised to a negative power");
  double out = std::pow(x, y);
  if (std::isnan(out) && !std::isnan(x) && !std::isnan(y))
    fail("complex numbers are not supported");
  if (std::isinf(out) && std::isfinite(x) && std::isfinite(y))
    fail("Numerical result out of range");
  return Value(out);
}

Value binary(char op, const Value& a, const Value& b) {
  switch (op) {
    case '+':
      return add(a, b);
    case '-':
      return subtract(a, b);
    case '*':
      return multiply(a, b);
    case '/':
      return divide(a, b);
    case 'f':
      return floor_divide(a, b);
    case '%':
      return modulo(a, b);
    default:
      return power(a, b);
  }
}

Value negate(const Value& v) {
  if (v.is_int()) {
    if (v.as_int() == INT64_MIN) overflow();
    return Value(-v.as_int());
  }
  if (v.is(Kind::kFloat)) return Value(-v.as_float());
  if (v.is_undefined()) fail(v.as<Undef>().message);
  fail("bad operand type for unary -: '" + type_name(v) + "'");
}

Value positive(const Value& v) {
  if (v.is_int()) return Value(v.as_int());
  if (v.is(Kind::kFloat) || v.is(Kind::kBigInt)) return v;
  if (v.is_undefined()) fail(v.as<Undef>().message);
  fail("bad operand type for unary +: '" + type_name(v) + "'");
}

bool contains(Runtime& rt, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) {
      fail("'in <string>' requires string as left operand, not " + type_name(item));
    }
    spend(container.text().size() / 16);
    return container.text().find(item.text()) != std::string::npos;
  }
  if (container.is(Kind::kView) && container.as<View>().what == View::kKeys) {
    return contains(rt, container.as<View>().dict, item);
  }
  if (container.is(Kind::kDict)) {
    if (!hashable(item)) fail("unhashable type: '" + type_name(item) + "'");
    return container.dict().find(item) != nullptr;
  }
  if (!iterable(container)) fail("argument of type '" + type_name(container) + "' is not iterable");
  Iteration it(container);
  for (Value v; it.next(rt, v);) {
    if (equal(v, item)) return true;
  }
  return false;
}

bool compare(Runtime& rt, char op, const Value& a, const Value& b) {
  switch (op) {
    case '=':
      return equal(a, b);
    case '!':
      return !equal(a, b);
    case '<':
      return less(a, b, "<");
    case '>':
      return less(b, a, ">");
    case 'l':
      return less(a, b, "<=") || equal(a, b);
    case 'g':
      return less(b, a, ">=") || equal(a, b);
    case 'i':
      return contains(rt, b, a);
    default:
      return !contains(rt, b, a);
  }
}

Value index(const Value& v, int64_t at, bool& found) {
  int64_t size = length(v);
  if (at < 0) at += size;
  found = at >= 0 && at < size;
  if (!found) return Value();
  if (v.is_sequence()) return v.items()[static_cast<size_t>(at)];
  if (v.is(Kind::kRange)) return Value(v.as<Range>().start + at * v.as<Range>().step);
  std::string_view text = v.text();
  size_t pos = static_cast<size_t>(at);
  if (!v.str().ascii) {
    spend(text.size() / 16);
    pos = 0;
    for (int64_t i = 0; i < at; ++i) pos += char_bytes(text[pos]);
  }
  return Value(text.substr(pos, char_bytes(text[pos])));
}

Value slice(const Value& v, const Value& start, const Value& stop, const Value& step_value) {
  if (v.is_undefined()) fail(v.as<Undef>().message);
  if (!v.is_string() && !v.is_sequence() && !v.is(Kind::kRange)) {
    if (v.is(Kind::kDict)) fail("unhashable type: 'slice'");
    fail("'" + type_name(v) + "' object is not subscriptable");
  }
  int64_t size = length(v), step = 1;
  if (!step_value.is_none()) {
    if (!step_value.is_int()) {
      fail("slice indices must be integers or None or have an __index__ method");
    }
    step = std::max(step_value.as_int(), -INT64_MAX);
  }
  if (step == 0) fail("slice step cannot be zero");
  int64_t low = step < 0 ? -1 : 0, high = step < 0 ? size - 1 : size;
  int64_t from = bound(start, size, low, high, step < 0 ? high : low);
  int64_t to = bound(stop, size, low, high, step < 0 ? low : high);
  Range picked;
  picked.start = from;
  picked.stop = to;
  picked.step = step;
  int64_t count = picked.size();
  if (v.is(Kind::kRange)) {
    const Range& r = v.as<Range>();
    auto out = std::make_shared<Range>();
    out->start = r.start + from * r.step;
    out->step = count > 1 ? r.step * step : r.step;
    out->stop = count == 0 ? out->start : out->start + count * out->step;
    return Value(Kind::kRange, out);
  }
  if (v.is_sequence()) {
    spend_items(count);
    std::vector<Value> out;
    for (int64_t i = 0; i < count; ++i)
      out.push_back(v.items()[static_cast<size_t>(from + i * step)]);
    return v.is(Kind::kList) ? Value::list(std::move(out)) : Value::tuple(std::move(out));
  }
  spend_text(v.text().size());
  std::string out;
  if (v.str().ascii) {
    if (step == 1) {
      out = v.text().substr(static_cast<size_t>(from), static_cast<size_t>(count));
    } else {
      for (int64_t i = 0; i < count; ++i) out += v.text()[static_cast<size_t>(from + i * step)];
    }
  } else {
    std::u32string chars = decode(v.text());
    for (int64_t i = 0; i < count; ++i)
      append_char(out, chars[static_cast<size_t>(from + i * step)]);
  }
  return v.str().markup ? Value::markup(std::move(out)) : Value(std::move(out));
}

}  // namespace spnl::modelkit::jinja
