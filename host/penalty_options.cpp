// Options of sampling beyond the language's own.
#include <limits>

#include "model_options.h"

namespace spnl::host {
namespace {

constexpr double kMost = 1e6;
constexpr uint64_t kMostTokens = std::numeric_limits<int32_t>::max();

std::optional<float> real(const Arguments& args, std::string_view name, double least, double most) {
  const auto number = args.real_number(name, least, most);
  return number ? std::optional(static_cast<float>(*number)) : std::nullopt;
}

std::pair<int32_t, float> logit_bias(const std::string& text) {
  const size_t equals = text.find('=');
  const auto id = to_real(std::string_view(text).substr(0, equals));
  const auto bias = equals == text.npos ? std::nullopt : to_real(text.substr(equals + 1));
  const bool good = id && bias && *id >= 0 && *id <= static_cast<double>(kMostTokens) &&
                    *id == static_cast<double>(static_cast<int32_t>(*id));
  if (!good)
    throw Error(ErrorCode::kUsage, "'" + text + "' is no bias of a token", "--logit-bias",
                "write ID=X, like 198=-100 (spnl-host tokenize shows ids)");
  return {static_cast<int32_t>(*id), static_cast<float>(*bias)};
}

std::optional<Dry> dry_options(const Arguments& args) {
  const auto multiplier = real(args, "dry", 0, kMost);
  if (!multiplier) {
    for (const char* name : {"dry-base", "dry-length", "dry-breaker"})
      if (args.has(name))
        throw Error(ErrorCode::kUsage, "--" + std::string(name) + " does nothing without --dry",
                    "command line", "give --dry as well, like --dry 0.8");
    return std::nullopt;
  }
  Dry dry;
  dry.multiplier = *multiplier;
  dry.base = real(args, "dry-base", 1, kMost).value_or(dry.base);
  if (auto length = args.unsigned_number("dry-length", 1, kMostTokens))
    dry.allowed_length = static_cast<int32_t>(*length);
  if (args.has("dry-breaker")) dry.breakers = args.all("dry-breaker");
  return dry;
}

}  // namespace

void add_penalties(const Arguments& args, GenerateRequest& request) {
  request.typical_p = real(args, "typical-p", 0, 1);
  request.presence_penalty = real(args, "presence-penalty", -kMost, kMost);
  request.frequency_penalty = real(args, "frequency-penalty", -kMost, kMost);
  if (auto window = args.real_number("penalty-window", -1, static_cast<double>(kMostTokens)))
    request.penalty_window = static_cast<int32_t>(*window);
  if (auto least = args.unsigned_number("min-tokens", 0, kMostTokens))
    request.min_tokens = static_cast<uint32_t>(*least);
  for (const std::string& bias : args.all("logit-bias"))
    request.logit_biases.push_back(logit_bias(bias));
  request.dry = dry_options(args);
}

}  // namespace spnl::host
