#pragma once
#include <string_view>

#include "jinja/value.h"

namespace spnl::modelkit::jinja {

using FilterFn = Value (*)(Runtime&, const Value& v, Args&);
FilterFn find_filter(std::string_view name);  ///< null when there is none

struct FilterEntry {
  std::string_view name;
  FilterFn fn;
};
FilterFn find_text_filter(std::string_view name);
FilterFn find_sequence_filter(std::string_view name);
FilterFn find_lazy_filter(std::string_view name);
FilterFn find_number_filter(std::string_view name);

template <size_t N>
FilterFn look_up_filter(const FilterEntry (&table)[N], std::string_view name) {
  for (const FilterEntry& e : table) {
    if (e.name == name) return e.fn;
  }
  return nullptr;
}

/// Follows "a.b.0" from an item, with the sandbox's item access.
class AttrGetter {
 public:
  /// `attribute`: None (the item itself), a string or an integer. `fold`: lower-case string
  /// results.
  AttrGetter(const Value& attribute, bool fold, Value fallback = Value());
  Value operator()(Runtime& rt, Value item) const;

 private:
  std::vector<Value> parts_;
  bool fold_;
  Value fallback_;
};

}  // namespace spnl::modelkit::jinja
