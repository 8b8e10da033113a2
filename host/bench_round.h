#pragma once
#include <cstdint>
#include <optional>
#include <stop_token>

#include "spnl/backends.h"

namespace spnl::host {

struct BenchShape {
  uint64_t prompt_tokens = 512, gen_tokens = 128, sequences = 1;
  bool prefill = true, decode = true;  ///< what is wanted of it
};

/// Of all sequences together; empty: not wanted, or the backend did not get there.
struct BenchRates {
  std::optional<double> prefill_tok_s, decode_tok_s;
  std::optional<double> first_token_s;  ///< until each sequence has its first token
  bool stopped_early = false;
};

/// Evaluates `sequences` prompts at once and decodes after each. `first_prompt` numbers the first
/// of at most 2 * sequences prompts: equal numbers make equal prompts. Throws Error: kInterrupted
/// after `stop`, kEvaluation when a generation fails.
BenchRates measure_round(Model& model, const BenchShape& shape, uint64_t first_prompt,
                         std::stop_token stop);

}  // namespace spnl::host
