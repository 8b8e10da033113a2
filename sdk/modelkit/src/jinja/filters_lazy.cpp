// Filters that return generators: items are read, and errors raised, only as they are asked for.
#include "jinja/budget.h"
#include "jinja/filters.h"
#include "jinja/iterate.h"
#include "jinja/methods.h"
#include "jinja/runtime.h"

namespace spnl::modelkit::jinja {

namespace {

/// An iteration over the input that begins at the first request, as in a Python generator.
class LazySource {
 public:
  explicit LazySource(Value v) : value_(std::move(v)) {}
  bool next(Runtime& rt, Value& out) {
    if (!iteration_) iteration_ = std::make_unique<Iteration>(value_);
    return iteration_->next(rt, out);
  }

 private:
  Value value_;
  std::unique_ptr<Iteration> iteration_;
};

using Transform = std::function<Value(Runtime&, const Value&)>;

Transform map_function(const Args& args) {
  if (args.pos.empty() && !args.kw.empty()) {
    Value attribute, fallback;
    bool found = false;
    for (const auto& [name, v] : args.kw) {
      if (name == "attribute") {
        attribute = v;
        found = true;
      } else if (name == "default") {
        fallback = v;
      } else {
        fail("Unexpected keyword argument '" + name + "'");
      }
    }
    if (!found) fail("map requires a filter argument");
    AttrGetter get(attribute, false, fallback);
    return [get](Runtime& rt, const Value& v) { return get(rt, v); };
  }
  if (args.pos.empty()) fail("map requires a filter argument");
  if (!args.pos[0].is_string()) fail("map needs the name of a filter");
  Args rest = args;
  std::string name = rest.pos[0].text();
  rest.pos.erase(rest.pos.begin());
  return [name, rest](Runtime& rt, const Value& v) {
    Args copy = rest;
    return rt.call_filter(name, v, copy);
  };
}

Value map(Runtime&, const Value& v, Args& args) {
  auto source = std::make_shared<LazySource>(v);
  auto apply = std::make_shared<Transform>();
  bool any = truthy(v);
  return make_iterator(v, [source, apply, args, any](Runtime& rt, Value& out) {
    if (!any) return false;
    if (!*apply) *apply = map_function(args);
    Value item;
    if (!source->next(rt, item)) return false;
    out = (*apply)(rt, item);
    return true;
  });
}

std::function<bool(Runtime&, const Value&)> predicate(const Args& args, bool by_attribute) {
  Value attribute;
  Args rest = args;
  if (by_attribute) {
    if (rest.pos.empty()) fail("Missing parameter for attribute name");
    attribute = rest.pos[0];
    rest.pos.erase(rest.pos.begin());
  }
  std::string test;
  if (!rest.pos.empty()) {
    if (!rest.pos[0].is_string()) fail("the name of a test must be a string");
    test = rest.pos[0].text();
    rest.pos.erase(rest.pos.begin());
  }
  bool named = rest.pos.size() + by_attribute < args.pos.size();
  AttrGetter get(attribute, false);
  return [=](Runtime& rt, const Value& v) {
    Value item = by_attribute ? get(rt, v) : v;
    if (!named) return truthy(item);
    Args copy = rest;
    return rt.call_test(test, item, copy);
  };
}

template <bool Keep, bool ByAttribute>
Value choose(Runtime&, const Value& v, Args& args) {
  auto source = std::make_shared<LazySource>(v);
  auto test = std::make_shared<std::function<bool(Runtime&, const Value&)>>();
  bool any = truthy(v);
  return make_iterator(v, [source, test, args, any](Runtime& rt, Value& out) {
    if (!any) return false;
    if (!*test) *test = predicate(args, ByAttribute);
    while (source->next(rt, out)) {
      if ((*test)(rt, out) == Keep) return true;
    }
    return false;
  });
}

Value unique(Runtime&, const Value& v, Args& args) {
  Bound b("unique", args, {"case_sensitive", "attribute"});
  AttrGetter get(b.get(1, Value()), !b.flag(0, false));
  auto source = std::make_shared<LazySource>(v);
  auto seen = std::make_shared<Dict>();
  return make_iterator(v, [=](Runtime& rt, Value& out) {
    while (source->next(rt, out)) {
      Value key = get(rt, out);
      size_t before = seen->items.size();
      seen->set(key, Value());
      if (seen->items.size() > before) return true;
    }
    return false;
  });
}

Value items(Runtime&, const Value& v, Args& args) {
  Bound b("items", args, {});
  auto at = std::make_shared<size_t>(0);
  return make_iterator(v, [v, at](Runtime&, Value& out) {
    if (v.is_undefined()) return false;
    if (!v.is(Kind::kDict)) fail("Can only get item pairs from a mapping.");
    const auto& all = v.dict().items;
    if (*at >= all.size()) return false;
    out = Value::tuple({all[*at].first, all[*at].second});
    ++*at;
    return true;
  });
}

Value batch(Runtime&, const Value& v, Args& args) {
  Bound b("batch", args, {"linecount", "fill_with"}, 1);
  int64_t count = b.integer(0, 0);
  Value fill = b.get(1, Value());
  auto source = std::make_shared<LazySource>(v);
  auto held = std::make_shared<std::vector<Value>>();
  return make_iterator(v, [=](Runtime& rt, Value& out) {
    std::vector<Value> row;
    row.swap(*held);
    Value item;
    while (source->next(rt, item)) {
      if (static_cast<int64_t>(row.size()) == count) {
        held->push_back(item);
        out = Value::list(std::move(row));
        return true;
      }
      row.push_back(item);
    }
    if (row.empty()) return false;
    if (!fill.is_none() && count > static_cast<int64_t>(row.size())) {
      spend_items(count);
      row.resize(static_cast<size_t>(count), fill);
    }
    out = Value::list(std::move(row));
    return true;
  });
}

Value slice_filter(Runtime&, const Value& v, Args& args) {
  Bound b("slice", args, {"slices", "fill_with"}, 1);
  int64_t slices = b.integer(0, 0);
  Value fill = b.get(1, Value());
  struct State {
    std::vector<Value> all;
    int64_t number = -1, offset = 0;
  };
  auto state = std::make_shared<State>();
  return make_iterator(v, [=](Runtime& rt, Value& out) {
    if (state->number < 0) {
      state->all = collect(rt, v);
      state->number = 0;
      if (slices == 0) fail("integer division or modulo by zero");
    }
    if (state->number >= slices) return false;
    int64_t size = static_cast<int64_t>(state->all.size()), per = size / slices,
            extra = size % slices;
    int64_t n = state->number++;
    int64_t start = state->offset + n * per;
    if (n < extra) ++state->offset;
    int64_t end = state->offset + (n + 1) * per;
    std::vector<Value> row(state->all.begin() + start, state->all.begin() + end);
    if (!fill.is_none() && n >= extra) row.push_back(fill);
    spend(row.size() + 1);
    out = Value::list(std::move(row));
    return true;
  });
}

constexpr FilterEntry kFilters[] = {
    {"map", map},
    {"select", choose<true, false>},
    {"reject", choose<false, false>},
    {"selectattr", choose<true, true>},
    {"rejectattr", choose<false, true>},
    {"unique", unique},
    {"items", items},
    {"batch", batch},
    {"slice", slice_filter},
};

}  // namespace

FilterFn find_lazy_filter(std::string_view name) { return look_up_filter(kFilters, name); }

}  // namespace spnl::modelkit::jinja
