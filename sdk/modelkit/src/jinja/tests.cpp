#include "jinja/tests.h"

#include "jinja/filters.h"
#include "jinja/iterate.h"
#include "jinja/methods.h"
#include "jinja/ops.h"
#include "jinja/repr.h"
#include "jinja/text.h"

namespace spnl::modelkit::jinja {

namespace {

bool callable(const Value& v) {
  return v.is(Kind::kFunction) || v.is(Kind::kMacro) || v.is(Kind::kLoop) || v.is(Kind::kJoiner) ||
         v.is_undefined();
}

bool same(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  if (a.object() || b.object())
    return a.object() == b.object() || (a.is_string() && a.text() == b.text());
  return a.is(Kind::kFloat) ? a.as_float() == b.as_float() : a.as_int() == b.as_int();
}

template <bool (*F)(const Value&)>
bool plain(Runtime&, const Value& v, Args& args) {
  Bound b("test", args, {});
  return F(v);
}

template <char Op>
bool compared(Runtime& rt, const Value& v, Args& args) {
  Bound b("test", args, {"other"}, 1);
  return compare(rt, Op, v, b[0]);
}

bool divisible(Runtime&, const Value& v, Args& args) {
  Bound b("divisibleby", args, {"num"}, 1);
  return equal(binary('%', v, b[0]), Value(0));
}

bool same_as(Runtime&, const Value& v, Args& args) {
  Bound b("sameas", args, {"other"}, 1);
  return same(v, b[0]);
}

bool is_odd(const Value& v) { return equal(binary('%', v, Value(2)), Value(1)); }
bool is_even(const Value& v) { return equal(binary('%', v, Value(2)), Value(0)); }
bool is_sequence(const Value& v) { return has_length(v) && !v.is(Kind::kView); }
bool is_true(const Value& v) { return v.is(Kind::kBool) && v.as_int(); }
bool is_false(const Value& v) { return v.is(Kind::kBool) && !v.as_int(); }

constexpr struct {
  std::string_view name;
  TestFn fn;
} kTests[] = {
    {"defined", plain<[](const Value& v) { return !v.is_undefined(); }>},
    {"undefined", plain<[](const Value& v) { return v.is_undefined(); }>},
    {"none", plain<[](const Value& v) { return v.is_none(); }>},
    {"string", plain<[](const Value& v) { return v.is_string(); }>},
    {"mapping", plain<[](const Value& v) { return v.is(Kind::kDict); }>},
    {"iterable", plain<iterable>},
    {"sequence", plain<is_sequence>},
    {"boolean", plain<[](const Value& v) { return v.is(Kind::kBool); }>},
    {"true", plain<is_true>},
    {"false", plain<is_false>},
    {"number", plain<[](const Value& v) { return v.is_number(); }>},
    {"integer", plain<[](const Value& v) { return v.is(Kind::kInt) || v.is(Kind::kBigInt); }>},
    {"float", plain<[](const Value& v) { return v.is(Kind::kFloat); }>},
    {"odd", plain<is_odd>},
    {"even", plain<is_even>},
    {"divisibleby", divisible},
    {"lower", plain<[](const Value& v) { return has_case(to_text(v), false); }>},
    {"upper", plain<[](const Value& v) { return has_case(to_text(v), true); }>},
    {"callable", plain<callable>},
    {"sameas", same_as},
    {"escaped", plain<[](const Value& v) { return v.is_string() && v.str().markup; }>},
    {"filter", plain<[](const Value& v) { return v.is_string() && find_filter(v.text()); }>},
    {"test", plain<[](const Value& v) { return v.is_string() && find_test(v.text()); }>},
    {"in", compared<'i'>},
    {"==", compared<'='>},
    {"eq", compared<'='>},
    {"equalto", compared<'='>},
    {"!=", compared<'!'>},
    {"ne", compared<'!'>},
    {">", compared<'>'>},
    {"gt", compared<'>'>},
    {"greaterthan", compared<'>'>},
    {">=", compared<'g'>},
    {"ge", compared<'g'>},
    {"<", compared<'<'>},
    {"lt", compared<'<'>},
    {"lessthan", compared<'<'>},
    {"<=", compared<'l'>},
    {"le", compared<'l'>},
};

}  // namespace

TestFn find_test(std::string_view name) {
  for (const auto& t : kTests) {
    if (t.name == name) return t.fn;
  }
  return nullptr;
}

}  // namespace spnl::modelkit::jinja
