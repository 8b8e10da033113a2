// Filters that look at a whole sequence or mapping at once.
#include <algorithm>

#include "jinja/budget.h"
#include "jinja/filters.h"
#include "jinja/iterate.h"
#include "jinja/methods.h"
#include "jinja/ops.h"
#include "jinja/repr.h"
#include "jinja/runtime.h"
#include "jinja/text.h"
#include "jinja/unicode.h"

namespace spnl::modelkit::jinja {

namespace {

Value length_filter(Runtime&, const Value& v, Args& args) {
  Bound b("length", args, {});
  return Value(length(v));
}

Value first(Runtime& rt, const Value& v, Args& args) {
  Bound b("first", args, {});
  Value out;
  if (Iteration(v).next(rt, out)) return out;
  return Value::undefined("No first item, sequence was empty.");
}

/// What reversed() accepts.
std::vector<Value> reversed(Runtime& rt, const Value& v) {
  if (!has_length(v)) fail("'" + type_name(v) + "' object is not reversible");
  std::vector<Value> items = collect(rt, v);
  std::reverse(items.begin(), items.end());
  return items;
}

Value last(Runtime& rt, const Value& v, Args& args) {
  Bound b("last", args, {});
  if (v.is_sequence() && !v.items().empty()) return v.items().back();
  std::vector<Value> items = reversed(rt, v);
  if (!items.empty()) return items[0];
  return Value::undefined("No last item, sequence was empty.");
}

Value reverse(Runtime& rt, const Value& v, Args& args) {
  Bound b("reverse", args, {});
  if (v.is_string()) return slice(v, Value(), Value(), Value(-1));
  if (!has_length(v)) {
    std::vector<Value> items = collect(rt, v);
    std::reverse(items.begin(), items.end());
    return Value::list(std::move(items));
  }
  auto items = std::make_shared<std::vector<Value>>(reversed(rt, v));
  auto at = std::make_shared<size_t>(0);
  return make_iterator(
      v,
      [items, at](Runtime&, Value& out) {
        if (*at >= items->size()) return false;
        out = (*items)[(*at)++];
        return true;
      },
      "list_reverseiterator");
}

Value list(Runtime& rt, const Value& v, Args& args) {
  Bound b("list", args, {});
  return Value::list(collect(rt, v));
}

using Keyed = std::pair<Value, Value>;  // key, item

void sort_keyed(std::vector<Keyed>& items, bool backwards) {
  spend_items(static_cast<int64_t>(items.size()));
  // stable_sort must see a strict order even when a comparison throws: it does, nothing is
  // swallowed
  std::stable_sort(items.begin(), items.end(), [&](const Keyed& a, const Keyed& b) {
    return backwards ? less(b.first, a.first) : less(a.first, b.first);
  });
}

Value folded(const Value& v) { return v.is_string() ? Value(to_lower(v.text())) : v; }

Value sort(Runtime& rt, const Value& v, Args& args) {
  Bound b("sort", args, {"reverse", "case_sensitive", "attribute"});
  std::vector<AttrGetter> getters;
  bool fold = !b.flag(1, false);
  if (b.given(2) && b[2].is_string()) {
    for (std::string_view part : split_text(b[2].text(), ",", -1, false))
      getters.emplace_back(Value(part), fold);
  } else {
    getters.emplace_back(b.get(2, Value()), fold);
  }
  std::vector<Keyed> keyed;
  for (Value& item : collect(rt, v)) {
    std::vector<Value> key;
    for (const AttrGetter& get : getters) key.push_back(get(rt, item));
    keyed.emplace_back(Value::list(std::move(key)), std::move(item));
  }
  sort_keyed(keyed, b.flag(0, false));
  std::vector<Value> out;
  for (Keyed& k : keyed) out.push_back(std::move(k.second));
  return Value::list(std::move(out));
}

Value dict_sort(Runtime&, const Value& v, Args& args) {
  Bound b("dictsort", args, {"case_sensitive", "by", "reverse"});
  std::string by = b.has(1) ? to_text(b[1]) : "key";
  if (by != "key" && by != "value") fail("You can only sort by either \"key\" or \"value\"");
  if (v.is_undefined()) fail(v.as<Undef>().message);
  if (!v.is(Kind::kDict)) fail("'" + type_name(v) + "' object has no attribute 'items'");
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : v.dict().items) {
    const Value& sort_by = by == "key" ? key : value;
    keyed.emplace_back(b.flag(0, false) ? sort_by : folded(sort_by), Value::tuple({key, value}));
  }
  sort_keyed(keyed, b.flag(2, false));
  std::vector<Value> out;
  for (Keyed& k : keyed) out.push_back(std::move(k.second));
  return Value::list(std::move(out));
}

Value group_by(Runtime& rt, const Value& v, Args& args) {
  Bound b("groupby", args, {"attribute", "default", "case_sensitive"}, 1);
  bool fold = !b.flag(2, false);
  AttrGetter get(b[0], fold, b.get(1, Value())), shown(b[0], false, b.get(1, Value()));
  std::vector<Keyed> keyed;
  for (Value& item : collect(rt, v)) {
    Value key = get(rt, item);
    keyed.emplace_back(std::move(key), std::move(item));
  }
  sort_keyed(keyed, false);
  std::vector<Value> out;
  for (size_t i = 0; i < keyed.size();) {
    std::vector<Value> members;
    size_t begin = i;
    for (; i < keyed.size() && equal(keyed[i].first, keyed[begin].first); ++i)
      members.push_back(keyed[i].second);
    Value group = Value::tuple({shown(rt, members[0]), Value::list(members)});
    group.as<List>().group = true;
    out.push_back(std::move(group));
  }
  return Value::list(std::move(out));
}

template <bool Max>
Value extreme(Runtime& rt, const Value& v, Args& args) {
  Bound b(Max ? "max" : "min", args, {"case_sensitive", "attribute"});
  AttrGetter get(b.get(1, Value()), !b.flag(0, false));
  Iteration it(v);
  Value best;
  if (!it.next(rt, best)) return Value::undefined("No aggregated item, sequence was empty.");
  Value key = get(rt, best);
  for (Value item; it.next(rt, item);) {
    Value k = get(rt, item);
    if (Max ? less(key, k, ">") : less(k, key)) {
      best = item;
      key = std::move(k);
    }
  }
  return best;
}

Value sum(Runtime& rt, const Value& v, Args& args) {
  Bound b("sum", args, {"attribute", "start"});
  AttrGetter get(b.get(0, Value()), false);
  Value total = b.get(1, Value(0));
  if (total.is_string()) fail("sum() can't sum strings [use ''.join(seq) instead]");
  Iteration it(v);
  for (Value item; it.next(rt, item);) total = add(total, get(rt, item));
  return total;
}

Value default_value(Runtime&, const Value& v, Args& args) {
  Bound b("default", args, {"default_value", "boolean"});
  if (v.is_undefined() || (b.flag(1, false) && !truthy(v))) return b.get(0, Value(""));
  return v;
}

Value attr(Runtime& rt, const Value& v, Args& args) {
  Bound b("attr", args, {"name"}, 1);
  Value out;
  if (v.is_undefined()) fail(v.as<Undef>().message);
  if (rt.attribute(v, b.text(0), out)) return out;
  return Value::undefined("'" + type_name(v) + " object' has no attribute '" + b.text(0) + "'");
}

constexpr FilterEntry kFilters[] = {
    {"length", length_filter},
    {"count", length_filter},
    {"default", default_value},
    {"d", default_value},
    {"list", list},
    {"first", first},
    {"last", last},
    {"reverse", reverse},
    {"sort", sort},
    {"dictsort", dict_sort},
    {"groupby", group_by},
    {"min", extreme<false>},
    {"max", extreme<true>},
    {"sum", sum},
    {"attr", attr},
    // deterministic on purpose: a prompt must not change between two renderings of the same input
    {"random", first},
};

}  // namespace

FilterFn find_sequence_filter(std::string_view name) { return look_up_filter(kFilters, name); }

}  // namespace spnl::modelkit::jinja
