#pragma once
#include <vector>

#include "jinja/value.h"

namespace spnl::modelkit::jinja {

bool iterable(const Value& v);

/// Walks whatever Python's iter() accepts: strings by character, dicts by key, one-pass iterators.
class Iteration {
 public:
  explicit Iteration(Value v);  ///< fails when not iterable
  bool next(Runtime& rt, Value& out);

 private:
  Value value_;
  size_t at_ = 0;
};

std::vector<Value> collect(Runtime& rt, const Value& v);  ///< list(v)

}  // namespace spnl::modelkit::jinja
