#pragma once
#include <string>
#include <vector>

#include "model.h"
#include "spnl/backend.h"
#include "spnl/modelkit/sampler.h"

namespace spnl::cpu_ref {

/// A request of the ABI, checked and copied.
struct Request {
  uint64_t user_id = 0;
  std::vector<int32_t> prompt;
  std::vector<uint64_t> fragment_tokens;  ///< of each fragment of the prompt, children included
  modelkit::SamplingParams sampling;
  uint32_t samples = 1;
  uint64_t max_tokens = 0;  ///< 0: until the model stops or its context is full
  bool prefill_only = false, wants_logprobs = false;
  uint32_t top_logprobs = 0;
  std::vector<std::string> stops;
};

/// Throws abi::Failure or modelkit::Error: INVALID for what makes no sense or does not fit the
/// context, UNSUPPORTED with the missing word.
Request read_request(const spnl_request& request, const Model& model);

/// "f32" where messages and model_info name the type of weights.
inline constexpr char kDtype[] = "f32";

}  // namespace spnl::cpu_ref
