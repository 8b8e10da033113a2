#include "evaluator/request.h"

#include <algorithm>
#include <limits>

namespace spnl::evaluator {
namespace {

constexpr double kDefaultTemperature = 0.6;

template <class T>
const std::optional<T>& either(const std::optional<T>& given, const std::optional<T>& otherwise) {
  return given ? given : otherwise;
}

template <class To, class From>
void set(std::optional<To>& to, const std::optional<From>& from) {
  if (from) to = static_cast<To>(*from);
}

}  // namespace

GenerateRequest base_request(const Sampling& sampling, const EvaluateOptions& options,
                             uint64_t seed) {
  const Sampling& defaults = options.defaults;
  GenerateRequest request;
  const auto temperature =
      either(either(sampling.temperature, defaults.temperature), options.default_temperature);
  request.temperature = static_cast<float>(temperature.value_or(kDefaultTemperature));
  const auto tokens =
      either(either(sampling.max_tokens, defaults.max_tokens), options.default_max_tokens);
  if (tokens.value_or(0) > 0)  // 0: until the model stops or its context is full
    request.max_tokens =
        static_cast<uint32_t>(std::min<uint64_t>(*tokens, std::numeric_limits<uint32_t>::max()));
  request.seed = either(sampling.seed, defaults.seed).value_or(seed);
  set(request.top_k, either(sampling.top_k, defaults.top_k));
  set(request.top_p, either(sampling.top_p, defaults.top_p));
  set(request.min_p, either(sampling.min_p, defaults.min_p));
  set(request.repeat_penalty, either(sampling.repeat_penalty, defaults.repeat_penalty));
  request.stop = sampling.stop.empty() ? defaults.stop : sampling.stop;
  request.span_mode = sampling.spans.empty() ? defaults.spans : sampling.spans;
  return request;
}

}  // namespace spnl::evaluator
