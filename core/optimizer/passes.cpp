#include <array>

#include "spnl/error.h"
#include "spnl/optimizer.h"

namespace spnl {

CapabilitiesOf capabilities_of(const Backends& backends) {
  return [&backends](const std::string& model) -> std::vector<std::string> {
    try {
      return backends.capabilities(model);
    } catch (const Error&) {
      return {"bulk_map", "bulk_repeat"};  // as most have: the query is explained as it is written
    }
  };
}

std::span<const Pass> passes() {
  static constexpr std::array<Pass, 1> kPasses{{
      {"simplify", "the algebra of queries, and bulk forms by what each backend can do", simplify},
  }};
  return kPasses;
}

}  // namespace spnl
