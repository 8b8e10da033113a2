#pragma once
// Methods of Python's built-in types that templates may call.
#include <string_view>

#include "jinja/value.h"

namespace spnl::modelkit::jinja {

using MethodFn = Value (*)(Runtime&, const Value& self, Args&);

MethodFn find_method(const Value& self, std::string_view name);
MethodFn find_string_method(std::string_view name);
/// Methods that would change a list or dict: the immutable sandbox hides them.
bool is_mutating_method(const Value& self, std::string_view name);
Value bind_method(const Value& self, std::string_view name, MethodFn method);

/// Binds a call's arguments to named parameters; fails on unknown, doubled or too many.
class Bound {
 public:
  Bound(const char* function, Args& args, std::initializer_list<const char*> names,
        size_t required = 0);
  bool has(size_t i) const { return slots_[i] != nullptr; }
  bool given(size_t i) const { return has(i) && !slots_[i]->is_none(); }  ///< and not None
  const Value& operator[](size_t i) const { return *slots_[i]; }
  Value get(size_t i, Value fallback) const { return has(i) ? *slots_[i] : std::move(fallback); }
  bool flag(size_t i, bool fallback) const { return has(i) ? truthy(*slots_[i]) : fallback; }
  int64_t integer(size_t i, int64_t fallback) const;  ///< fails when not an int
  const std::string& text(size_t i) const;            ///< fails when not a string

 private:
  const char* function_;
  std::vector<const Value*> slots_;
};

}  // namespace spnl::modelkit::jinja
