// The same as C++, and the smallest sizes that backend.hpp checks.
#include "layout.c"  // NOLINT
#include "spnl/backend.hpp"

namespace spnl::abi {
static_assert(kLeastSize<spnl_sink> == 24 && kLeastSize<spnl_file_sink> == 24 &&
              kLeastSize<spnl_host> == 112);
static_assert(kLeastSize<spnl_load> == 88 && kLeastSize<spnl_model_info> == 104 &&
              kLeastSize<spnl_fragment> == 96);
static_assert(kLeastSize<spnl_prompt> == 40 && kLeastSize<spnl_sampling> == 72 &&
              kLeastSize<spnl_request> == 80);
static_assert(kLeastSize<spnl_events> == 24 && kLeastSize<spnl_stats> == 96);
}  // namespace spnl::abi
