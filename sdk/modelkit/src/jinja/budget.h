#pragma once
// Bounds against hostile templates. The running budget is thread-local because values are compared,
// hashed and printed far below the places that know which rendering is under way.

#include <cstddef>
#include <cstdint>

namespace spnl::modelkit::jinja {

inline constexpr uint64_t kMaxSteps = 60'000'000;     ///< a few seconds of work at most
inline constexpr size_t kMaxText = size_t{64} << 20;  ///< one string, and the output, in bytes
inline constexpr int64_t kMaxItems = 4'000'000;       ///< one list
inline constexpr int64_t kMaxRange = 100'000;         ///< as jinja2's sandbox
inline constexpr int kMaxCallDepth = 1800;            ///< nested evaluations, macro calls included

/// Sets the step budget of this thread for its lifetime; restores the outer one after.
class BudgetScope {
 public:
  explicit BudgetScope(uint64_t steps);
  ~BudgetScope();
  BudgetScope(const BudgetScope&) = delete;
  BudgetScope& operator=(const BudgetScope&) = delete;

 private:
  uint64_t outer_;
};

void spend(uint64_t steps);       ///< fails when the budget is used up; free outside a rendering
void check_text(size_t bytes);    ///< fails when a string of this size would be too long
void spend_text(size_t bytes);    ///< check_text, and pays for making it
void spend_items(int64_t count);  ///< pays for making a list of `count` items; fails when too long

}  // namespace spnl::modelkit::jinja
