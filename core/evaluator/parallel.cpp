#include "evaluator/parallel.h"

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "spnl/error.h"
#include "util/text.h"

namespace spnl::evaluator {

uint32_t num_parallel(const EvaluateOptions& options) {
  constexpr uint32_t kDefault = 2;
  if (options.num_parallel && *options.num_parallel > 0) return *options.num_parallel;
  const char* given = std::getenv("SPNL_NUM_PARALLEL");
  const std::string_view text = given == nullptr ? "" : given;
  if (text.empty()) return kDefault;
  uint32_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc{} || end != text.data() + text.size() || count == 0)
    throw Error(ErrorCode::kUsage, "SPNL_NUM_PARALLEL is " + text::quote(text), "environment",
                "give a whole number from 1, or nothing for " + std::to_string(kDefault));
  return count;
}

}  // namespace spnl::evaluator
