#pragma once
#include <string_view>

#include "engine/span_plan.h"

namespace spnl::mistralrs {

/// How a model evaluates spans where a request does not say.
struct SpanDefaults {
  SpanMode mode = SpanMode::kExact;
  SpanContext context = SpanContext::kPreamble;
};

/// By the model's name, "org/name:QUANT" or a path: models that were trained to read fragments
/// apart do so, all others are exact.
SpanDefaults span_defaults(std::string_view model);

}  // namespace spnl::mistralrs
