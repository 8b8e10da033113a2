#include "jinja/budget.h"

#include "jinja/value.h"

namespace spnl::modelkit::jinja {

namespace {
constexpr uint64_t kUnlimited = ~uint64_t{0};
constinit thread_local uint64_t t_left = kUnlimited;
}  // namespace

BudgetScope::BudgetScope(uint64_t steps) : outer_(t_left) { t_left = steps; }
BudgetScope::~BudgetScope() { t_left = outer_; }

void spend(uint64_t steps) {
  if (t_left == kUnlimited) return;
  if (t_left < steps) fail_limit("template runs too long (step limit reached)");
  t_left -= steps;
}

void check_text(size_t bytes) {
  if (bytes > kMaxText) fail_limit("text grows beyond the limit of 64 MiB");
}

void spend_text(size_t bytes) {
  check_text(bytes);
  spend(bytes / 8);  // also bounds the memory held by all strings of a rendering
}

void spend_items(int64_t count) {
  if (count > kMaxItems) fail_limit("list grows beyond the limit of 4 million items");
  spend(static_cast<uint64_t>(count) * 4);
}

}  // namespace spnl::modelkit::jinja
