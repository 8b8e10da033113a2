#include "jinja/filters.h"

#include "jinja/runtime.h"
#include "jinja/text.h"
#include "jinja/unicode.h"

namespace spnl::modelkit::jinja {

FilterFn find_filter(std::string_view name) {
  if (FilterFn f = find_text_filter(name)) return f;
  if (FilterFn f = find_sequence_filter(name)) return f;
  if (FilterFn f = find_lazy_filter(name)) return f;
  return find_number_filter(name);
}

AttrGetter::AttrGetter(const Value& attribute, bool fold, Value fallback)
    : fold_(fold), fallback_(std::move(fallback)) {
  if (attribute.is_none()) return;
  if (!attribute.is_string()) {
    parts_.push_back(attribute);
    return;
  }
  for (std::string_view part : split_text(attribute.text(), ".", -1, false)) {
    bool digits = !part.empty() && part.size() < 18;
    int64_t n = 0;
    for (char c : part) {
      digits = digits && c >= '0' && c <= '9';
      n = digits ? n * 10 + (c - '0') : 0;
    }
    parts_.push_back(digits ? Value(n) : Value(part));
  }
}

Value AttrGetter::operator()(Runtime& rt, Value item) const {
  for (const Value& part : parts_) {
    item = rt.getitem(item, part);
    if (!fallback_.is_none() && item.is_undefined()) item = fallback_;
  }
  if (fold_ && item.is_string()) return Value(to_lower(item.text()));
  return item;
}

}  // namespace spnl::modelkit::jinja
