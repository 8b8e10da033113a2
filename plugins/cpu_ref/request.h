#pragma once
#include <string>
#include <vector>

#include "model.h"
#include "spnl/backend.h"
#include "spnl/modelkit/sampling_request.h"

namespace spnl::cpu_ref {

/// A request of the ABI, checked and copied.
struct Request {
  uint64_t user_id = 0;
  std::vector<int32_t> prompt;
  std::vector<uint64_t> fragment_tokens;  ///< of each fragment of the prompt, children included
  modelkit::SamplingRequest sampling;
  bool prefill_only = false;
};

/// Throws abi::Failure or modelkit::Error: INVALID for what makes no sense or does not fit the
/// context, UNSUPPORTED with the missing word.
Request read_request(const spnl_request& request, const Model& model);

/// "f32" where messages and model_info name the type of weights.
inline constexpr char kDtype[] = "f32";

}  // namespace spnl::cpu_ref
