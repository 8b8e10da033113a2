#include "evaluator/request.h"

#include <algorithm>
#include <limits>

#include "optimizer/seeds.h"

namespace spnl::evaluator {
namespace {

template <class To, class From>
void set(std::optional<To>& to, const std::optional<From>& from) {
  if (from) to = static_cast<To>(*from);
}

}  // namespace

GenerateRequest base_request(const GenerateRequest& begin, const Sampling& effective,
                             uint64_t seed) {
  GenerateRequest request = begin;
  set(request.temperature, effective.temperature);
  const uint64_t tokens = effective.max_tokens.value_or(0);
  if (tokens > 0)  // 0: until the model stops or its context is full
    request.max_tokens =
        static_cast<uint32_t>(std::min<uint64_t>(tokens, std::numeric_limits<uint32_t>::max()));
  request.seed = effective.seed.value_or(seed);
  set(request.top_k, effective.top_k);
  set(request.top_p, effective.top_p);
  set(request.min_p, effective.min_p);
  set(request.repeat_penalty, effective.repeat_penalty);
  request.stop = effective.stop;
  request.span_mode = effective.spans;
  return request;
}

uint64_t node_seed(uint64_t run_seed, uint64_t path_hash, bool map, uint32_t input) {
  return seeds::mix(run_seed, map ? seeds::mix(path_hash, input) : path_hash);
}

}  // namespace spnl::evaluator
