#pragma once
#include <cstdint>
#include <limits>
#include <string_view>

#include "ir/numbers.h"
#include "reader/value.h"

/// How a generate may be told to sample: what every spelling accepts, in one place.
namespace spnl::reader {

/// A field of Sampling that is one number. In Lisp it has hyphens instead of underscores.
struct SamplingNumber {
  std::string_view name;
  double least, most;
  bool whole;
  const char* expected;  ///< for messages
  void (*set)(Sampling&, const Number&);

  bool accepts(const Number& number) const {
    return number.value >= least && number.value <= most && (!whole || number.whole);
  }
};

inline constexpr double kMostFloat = std::numeric_limits<float>::max();  // backends take floats
inline constexpr double kLeastFloat = std::numeric_limits<float>::denorm_min();

inline constexpr SamplingNumber kMaxTokens{
    "max_tokens",
    0,
    std::numeric_limits<uint32_t>::max(),
    true,
    "a whole number of tokens, 0 for no limit",
    [](Sampling& to, const Number& n) { to.max_tokens = *n.whole; }};
inline constexpr SamplingNumber kTemperature{
    "temperature",
    0,
    kMostFloat,
    false,
    "a temperature of at least 0",
    [](Sampling& to, const Number& n) { to.temperature = ir::rounded(n.value); }};

inline constexpr SamplingNumber kSamplingNumbers[] = {
    kMaxTokens,
    kTemperature,
    {"seed", 0, 18446744073709551616.0, true, "a whole number from 0 to 18446744073709551615",
     [](Sampling& to, const Number& n) { to.seed = *n.whole; }},
    {"top_k", 0, std::numeric_limits<int32_t>::max(), true, "a whole number from 0 to 2147483647",
     [](Sampling& to, const Number& n) { to.top_k = static_cast<int64_t>(*n.whole); }},
    {"top_p", 0, 1, false, "a number from 0 to 1",
     [](Sampling& to, const Number& n) { to.top_p = ir::rounded(n.value); }},
    {"min_p", 0, 1, false, "a number from 0 to 1",
     [](Sampling& to, const Number& n) { to.min_p = ir::rounded(n.value); }},
    {"repeat_penalty", kLeastFloat, kMostFloat, false, "a number above 0",
     [](Sampling& to, const Number& n) { to.repeat_penalty = ir::rounded(n.value); }},
};

inline constexpr uint64_t kMostSamples = 255;
inline constexpr const char* kSamplesExpected = "a whole number from 1 to 255";
inline constexpr const char* kSpansExpected = "\"exact\", \"block\", \"blend\" or \"blend:K\"";

}  // namespace spnl::reader
