#include "optimizer/sampling.h"

namespace spnl {
namespace {

constexpr double kDefaultTemperature = 0.6;

template <class T>
void fill(std::optional<T>& to, const std::optional<T>& from) {
  if (!to) to = from;
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

}  // namespace spnl
