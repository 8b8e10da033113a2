#include "evaluator/request.h"

#include <algorithm>
#include <limits>

#include "optimizer/seeds.h"

namespace spnl::evaluator {
namespace {

constexpr double kDefaultTemperature = 0.6;

template <class T>
void fill(std::optional<T>& to, const std::optional<T>& from) {
  if (!to) to = from;
}

template <class To, class From>
void set(std::optional<To>& to, const std::optional<From>& from) {
  if (from) to = static_cast<To>(*from);
}

}  // namespace

Sampling effective_sampling(const Sampling& given, const EvaluateOptions& options) {
  const Sampling& defaults = options.defaults;
  Sampling all = given;
  fill(all.temperature, defaults.temperature);
  fill(all.temperature, options.default_temperature);
  if (!all.temperature) all.temperature = kDefaultTemperature;
  fill(all.max_tokens, defaults.max_tokens);
  fill(all.max_tokens, options.default_max_tokens);
  if (!all.max_tokens) all.max_tokens = 0;
  fill(all.seed, defaults.seed);
  fill(all.top_k, defaults.top_k);
  fill(all.top_p, defaults.top_p);
  fill(all.min_p, defaults.min_p);
  fill(all.repeat_penalty, defaults.repeat_penalty);
  if (all.stop.empty()) all.stop = defaults.stop;
  if (all.spans.empty()) all.spans = defaults.spans;
  return all;
}

bool repeats_exactly(const Sampling& effective) {
  return effective.seed.has_value() || effective.temperature == 0.0;
}

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
