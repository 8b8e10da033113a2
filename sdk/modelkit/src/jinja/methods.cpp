#include "jinja/methods.h"

#include <algorithm>
#include <cmath>

#include "jinja/budget.h"
#include "jinja/iterate.h"

namespace spnl::modelkit::jinja {

namespace {

struct Entry {
  std::string_view name;
  MethodFn fn;
};

Value make_view(const Value& dict, View::What what) {
  auto view = std::make_shared<View>();
  view->dict = dict;
  view->what = what;
  view->depth = dict.object()->depth + 1;
  if (view->depth > kMaxValueDepth) fail_limit("values are nested too deeply");
  return Value(Kind::kView, std::move(view));
}

Value dict_get(Runtime&, const Value& self, Args& args) {
  Bound b("get", args, {"key", "default"}, 1);
  if (!hashable(b[0])) fail("unhashable type: '" + type_name(b[0]) + "'");
  const Value* v = self.dict().find(b[0]);
  return v ? *v : b.get(1, Value());
}
Value dict_items(Runtime&, const Value& self, Args& args) {
  Bound b("items", args, {});
  return make_view(self, View::kItems);
}
Value dict_keys(Runtime&, const Value& self, Args& args) {
  Bound b("keys", args, {});
  return make_view(self, View::kKeys);
}
Value dict_values(Runtime&, const Value& self, Args& args) {
  Bound b("values", args, {});
  return make_view(self, View::kValues);
}
Value same_copy(Runtime&, const Value& self, Args& args) {
  Bound b("copy", args, {});
  return self;  // nothing can change either of the two
}

Value seq_count(Runtime&, const Value& self, Args& args) {
  Bound b("count", args, {"value"}, 1);
  int64_t n = 0;
  for (const Value& v : self.items()) n += equal(v, b[0]);
  return Value(n);
}

Value seq_index(Runtime&, const Value& self, Args& args) {
  Bound b("index", args, {"value", "start", "stop"}, 1);
  int64_t size = length(self);
  auto clamp = [&](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + size : i, 0, size); };
  int64_t from = clamp(b.integer(1, 0)), to = clamp(b.integer(2, size));
  for (int64_t i = from; i < to; ++i) {
    if (equal(self.items()[static_cast<size_t>(i)], b[0])) return Value(i);
  }
  fail("value is not in " + type_name(self));
}

Value range_index(Runtime& rt, const Value& self, Args& args) {
  Value items = Value::list(collect(rt, self));
  return seq_index(rt, items, args);
}
Value range_count(Runtime& rt, const Value& self, Args& args) {
  Value items = Value::list(collect(rt, self));
  return seq_count(rt, items, args);
}

Value int_bit_length(Runtime&, const Value& self, Args& args) {
  Bound b("bit_length", args, {});
  int64_t v = self.as_int();
  uint64_t u = v < 0 ? 0 - static_cast<uint64_t>(v) : static_cast<uint64_t>(v);
  int64_t n = 0;
  for (; u; u >>= 1) ++n;
  return Value(n);
}
Value float_is_integer(Runtime&, const Value& self, Args& args) {
  Bound b("is_integer", args, {});
  return Value(std::isfinite(self.as_float()) && std::floor(self.as_float()) == self.as_float());
}

constexpr Entry kDict[] = {{"get", dict_get},
                           {"items", dict_items},
                           {"keys", dict_keys},
                           {"values", dict_values},
                           {"copy", same_copy}};
constexpr Entry kList[] = {{"count", seq_count}, {"index", seq_index}, {"copy", same_copy}};
constexpr Entry kTuple[] = {{"count", seq_count}, {"index", seq_index}};
constexpr Entry kRange[] = {{"count", range_count}, {"index", range_index}};
constexpr Entry kInt[] = {{"bit_length", int_bit_length}};
constexpr Entry kFloat[] = {{"is_integer", float_is_integer}};

template <size_t N>
MethodFn look_up(const Entry (&table)[N], std::string_view name) {
  for (const Entry& e : table) {
    if (e.name == name) return e.fn;
  }
  return nullptr;
}

}  // namespace

MethodFn find_method(const Value& self, std::string_view name) {
  switch (self.kind()) {
    case Kind::kString:
      return find_string_method(name);
    case Kind::kDict:
      return look_up(kDict, name);
    case Kind::kList:
      return look_up(kList, name);
    case Kind::kTuple:
      return look_up(kTuple, name);
    case Kind::kRange:
      return look_up(kRange, name);
    case Kind::kInt:
    case Kind::kBool:
      return look_up(kInt, name);
    case Kind::kFloat:
      return look_up(kFloat, name);
    default:
      return nullptr;
  }
}

bool is_mutating_method(const Value& self, std::string_view name) {
  static constexpr std::string_view kOfDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
  static constexpr std::string_view kOfList[] = {"append", "clear", "pop",    "reverse",
                                                 "insert", "sort",  "extend", "remove"};
  auto in = [&](const auto& names) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
  };
  return (self.is(Kind::kDict) && in(kOfDict)) || (self.is(Kind::kList) && in(kOfList));
}

Value bind_method(const Value& self, std::string_view name, MethodFn method) {
  Value f = make_function(std::string(name), [self, method](Runtime& rt, Args& args) {
    return method(rt, self, args);
  });
  f.object()->depth = (self.object() ? self.object()->depth : 0) + 1;
  if (f.object()->depth > kMaxValueDepth) fail_limit("values are nested too deeply");
  return f;
}

Bound::Bound(const char* function, Args& args, std::initializer_list<const char*> names,
             size_t required)
    : function_(function), slots_(names.size()) {
  if (args.pos.size() > names.size()) {
    fail(std::string(function) + "() takes at most " + std::to_string(names.size()) +
         " arguments (" + std::to_string(args.pos.size()) + " given)");
  }
  for (size_t i = 0; i < args.pos.size(); ++i) slots_[i] = &args.pos[i];
  for (const auto& [name, value] : args.kw) {
    auto at = std::find(names.begin(), names.end(), name);
    if (at == names.end()) {
      fail(std::string(function) + "() got an unexpected keyword argument '" + name + "'");
    }
    const Value*& slot = slots_[static_cast<size_t>(at - names.begin())];
    if (slot) fail(std::string(function) + "() got multiple values for argument '" + name + "'");
    slot = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!slots_[i]) {
      fail(std::string(function) + "() missing required argument '" + names.begin()[i] + "'");
    }
  }
}

int64_t Bound::integer(size_t i, int64_t fallback) const {
  if (!has(i)) return fallback;
  const Value& v = *slots_[i];
  if (v.is_undefined()) fail(v.as<Undef>().message);
  if (!v.is_int()) {
    fail(std::string(function_) + "(): '" + type_name(v) +
         "' object cannot be interpreted as an integer");
  }
  return v.as_int();
}

const std::string& Bound::text(size_t i) const {
  const Value& v = *slots_[i];
  if (!v.is_string()) {
    fail(std::string(function_) + "(): expected str, not '" + type_name(v) + "'");
  }
  return v.text();
}

}  // namespace spnl::modelkit::jinja
