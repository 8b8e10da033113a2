#include <array>
#include <utility>

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
  constexpr auto simplify_pass = [](Query query, const PassContext& context) {
    return simplify(std::move(query), context.capabilities);
  };
  static constexpr std::array<Pass, 3> kPasses{{
      {"simplify", "the algebra of queries, and bulk forms by what each backend can do",
       simplify_pass},
      {"retrieve", "fragments of documents in the place of augments", retrieve},
      {"simplify retrieved", "the algebra again, over what was retrieved", simplify_pass},
  }};
  return kPasses;
}

}  // namespace spnl
