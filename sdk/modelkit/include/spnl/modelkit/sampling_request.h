#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "spnl/backend.h"
#include "spnl/modelkit/sampler.h"
#include "spnl/modelkit/tokenizer.h"

namespace spnl::modelkit {

/// What a request's spnl_sampling says.
struct SamplingRequest {
  SamplingParams params;
  uint32_t samples = 1;
  uint32_t max_tokens = 0;  ///< 0: no limit but the context
  bool want_logprobs = false;
  uint32_t top_logprobs = 0;
  std::vector<std::string> stops;
};

/// Reads and checks `given`, which may be null; all defaults then. `end_ids`: what ends an answer. Throws
/// abi::Failure (SPNL_INVALID naming the field, SPNL_UNSUPPORTED for fields of a later minor) and Error(kInvalid).
SamplingRequest read_sampling(const spnl_sampling* given, const Tokenizer& tokenizer,
                              const std::vector<int32_t>& end_ids);

}  // namespace spnl::modelkit
