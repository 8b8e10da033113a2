#pragma once
#include <functional>
#include <optional>
#include <stop_token>
#include <string_view>
#include <vector>

#include "spnl/backends.h"

namespace spnl::host {

struct TokenEvent {
  uint32_t sample;
  std::string_view text;
  size_t tokens;
};

/// Runs one request to its end on the caller's time; a stop cancels it and the partial samples come
/// back. `on_tokens` (may be empty) is called on the model's strand.
std::vector<Completion> generate(Model& model, GenerateRequest request, std::stop_token stop,
                                 std::function<void(const TokenEvent&)> on_tokens);

/// Tokens a second; nothing when no time or token was counted.
std::optional<double> prefill_rate(const Usage& usage);
std::optional<double> decode_rate(const Usage& usage);

}  // namespace spnl::host
