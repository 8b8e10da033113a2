// Equality, ordering and dictionary order of values, as Python 3 defines them.
#include <cmath>
#include <cstdio>

#include "jinja/budget.h"
#include "jinja/value.h"

namespace spnl::modelkit::jinja {

namespace {

/// -1, 0, 1; 2 when a NaN makes them unordered. Integers and floats compare exactly.
int compare_numbers(const Value& a, const Value& b) {
  if (a.is_int() && b.is_int()) return a.as_int() < b.as_int() ? -1 : a.as_int() > b.as_int();
  if (a.is(Kind::kBigInt) && b.is(Kind::kBigInt)) {
    const std::string &x = a.as<BigInt>().digits, &y = b.as<BigInt>().digits;
    bool nx = x[0] == '-', ny = y[0] == '-';
    if (nx != ny) return nx ? -1 : 1;
    int order = x.size() != y.size() ? (x.size() < y.size() ? -1 : 1) : (x < y ? -1 : x > y);
    return nx ? -order : order;
  }
  if (a.is(Kind::kBigInt) && b.is(Kind::kFloat)) {
    // No double past 2^63 has digits after the point, so its exact decimal form can be compared.
    double d = b.as_float();
    if (std::isnan(d)) return 2;
    if (std::fabs(d) < 9223372036854775808.0 || std::isinf(d)) {
      bool below = std::isinf(d) ? d > 0 : a.as<BigInt>().digits[0] == '-';
      return below ? -1 : 1;
    }
    char text[400];
    auto whole = std::make_shared<BigInt>();
    whole->digits.assign(text, static_cast<size_t>(std::snprintf(text, sizeof text, "%.0f", d)));
    return compare_numbers(a, Value(Kind::kBigInt, std::move(whole)));
  }
  if (a.is(Kind::kFloat) && b.is(Kind::kBigInt)) {
    int c = compare_numbers(b, a);
    return c == 2 ? 2 : -c;
  }
  if (a.is(Kind::kBigInt) && b.is_int()) return a.as<BigInt>().digits[0] == '-' ? -1 : 1;
  if (a.is_int() && b.is(Kind::kBigInt)) return -compare_numbers(b, a);
  if (a.is(Kind::kFloat) && b.is_int()) {
    int c = compare_numbers(b, a);
    return c == 2 ? 2 : -c;
  }
  if (a.is_int() && b.is(Kind::kFloat)) {
    double d = b.as_float();
    if (std::isnan(d)) return 2;
    if (d >= 9223372036854775808.0) return -1;
    if (d < -9223372036854775808.0) return 1;
    int64_t whole = static_cast<int64_t>(d);
    if (a.as_int() != whole) return a.as_int() < whole ? -1 : 1;
    double rest = d - static_cast<double>(whole);
    return rest > 0 ? -1 : rest < 0 ? 1 : 0;
  }
  double x = a.to_double(), y = b.to_double();
  if (std::isnan(x) || std::isnan(y)) return 2;
  return x < y ? -1 : x > y;
}

bool equal_items(const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!equal(a[i], b[i])) return false;
  }
  return true;
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  for (const auto& [k, v] : a.items) {
    const Value* other = b.find(k);
    if (!other || !equal(v, *other)) return false;
  }
  return true;
}

bool equal_ranges(const Range& a, const Range& b) {
  if (a.size() != b.size()) return false;
  if (a.size() == 0) return true;
  return a.start == b.start && (a.size() == 1 || a.step == b.step);
}

bool less_items(const std::vector<Value>& a, const std::vector<Value>& b, const char* op) {
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (!equal(a[i], b[i])) return less(a[i], b[i], op);
  }
  return a.size() < b.size();
}

int key_class(const Value& v) {
  if (v.is_number()) return 1;
  return v.is_string() ? 2 : v.is(Kind::kTuple) ? 3 : v.is_none() ? 4 : v.is_undefined() ? 5 : 6;
}

}  // namespace

bool equal(const Value& a, const Value& b) {
  spend(1);  // shared sub-values make comparing exponential in the worst case
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      return a.object() == b.object() || a.text() == b.text();
    case Kind::kList:
    case Kind::kTuple:
      return a.object() == b.object() || equal_items(a.items(), b.items());
    case Kind::kDict:
      return a.object() == b.object() || equal_dicts(a.dict(), b.dict());
    case Kind::kRange:
      return equal_ranges(a.as<Range>(), b.as<Range>());
    default:
      return a.object() == b.object();
  }
}

bool less(const Value& a, const Value& b, const char* op) {
  spend(1);
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == -1;
  if (a.is_undefined()) fail(a.as<Undef>().message);
  if (b.is_undefined()) fail(b.as<Undef>().message);
  if (a.is_string() && b.is_string()) return a.text() < b.text();  // UTF-8 keeps code point order
  if (a.is_sequence() && a.kind() == b.kind()) return less_items(a.items(), b.items(), op);
  fail(std::string("'") + op + "' not supported between instances of '" + type_name(a) + "' and '" +
       type_name(b) + "'");
}

bool hashable(const Value& v) {
  spend(1);
  switch (v.kind()) {
    case Kind::kList:
    case Kind::kDict:
    case Kind::kView:
      return false;
    case Kind::kTuple:
      for (const Value& item : v.items()) {
        if (!hashable(item)) return false;
      }
      return true;
    default:
      return true;
  }
}

/// Any strict weak order that agrees with equal() on hashable values.
bool KeyLess::operator()(const Value& a, const Value& b) const {
  spend(1);
  int ca = key_class(a), cb = key_class(b);
  if (ca != cb) return ca < cb;
  if (ca == 1) {
    bool na = a.is(Kind::kFloat) && std::isnan(a.as_float());
    bool nb = b.is(Kind::kFloat) && std::isnan(b.as_float());
    if (na || nb) return !na && nb;
    return compare_numbers(a, b) < 0;
  }
  if (ca == 2) return a.text() < b.text();
  if (ca == 3) {
    const auto &x = a.items(), &y = b.items();
    for (size_t i = 0; i < x.size() && i < y.size(); ++i) {
      if ((*this)(x[i], y[i])) return true;
      if ((*this)(y[i], x[i])) return false;
    }
    return x.size() < y.size();
  }
  return ca == 6 && std::less<const Object*>()(a.object(), b.object());
}

}  // namespace spnl::modelkit::jinja
