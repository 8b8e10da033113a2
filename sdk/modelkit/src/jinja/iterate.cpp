#include "jinja/iterate.h"

#include "jinja/budget.h"
#include "jinja/runtime.h"
#include "jinja/unicode.h"

namespace spnl::modelkit::jinja {

bool iterable(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
    case Kind::kString:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kView:
    case Kind::kRange:
    case Kind::kIterator:
    case Kind::kLoop:
      return true;
    default:
      return false;
  }
}

Iteration::Iteration(Value v) : value_(std::move(v)) {
  if (!iterable(value_)) fail("'" + type_name(value_) + "' object is not iterable");
}

bool Iteration::next(Runtime& rt, Value& out) {
  spend(1);
  switch (value_.kind()) {
    case Kind::kString: {
      const std::string& text = value_.text();
      if (at_ >= text.size()) return false;
      size_t n = char_bytes(text[at_]);
      out = Value(std::string_view(text).substr(at_, n));
      at_ += n;
      return true;
    }
    case Kind::kList:
    case Kind::kTuple:
      if (at_ >= value_.items().size()) return false;
      out = value_.items()[at_++];
      return true;
    case Kind::kDict:
      if (at_ >= value_.dict().items.size()) return false;
      out = value_.dict().items[at_++].first;
      return true;
    case Kind::kView: {
      const View& view = value_.as<View>();
      const auto& items = view.dict.dict().items;
      if (at_ >= items.size()) return false;
      const auto& [k, v] = items[at_++];
      out = view.what == View::kKeys ? k : view.what == View::kValues ? v : Value::tuple({k, v});
      return true;
    }
    case Kind::kRange: {
      const Range& r = value_.as<Range>();
      if (static_cast<int64_t>(at_) >= r.size()) return false;
      out = Value(r.start + static_cast<int64_t>(at_++) * r.step);
      return true;
    }
    case Kind::kIterator:
      return value_.as<Iterator>().next(rt, out);
    case Kind::kLoop:
      return rt.loop_next(value_, out);
    default:
      return false;
  }
}

std::vector<Value> collect(Runtime& rt, const Value& v) {
  if (v.is_sequence()) {
    spend_items(static_cast<int64_t>(v.items().size()));
    return v.items();
  }
  std::vector<Value> out;
  Iteration it(v);
  for (Value item; it.next(rt, item);) {
    spend_items(1);
    if (static_cast<int64_t>(out.size()) >= kMaxItems) spend_items(kMaxItems + 1);
    out.push_back(std::move(item));
  }
  return out;
}

}  // namespace spnl::modelkit::jinja
