#pragma once
#include <cstdint>
#include <stop_token>

#include "spnl/backends.h"

namespace spnl::host {

struct BenchShape {
  uint64_t prompt_tokens = 512, gen_tokens = 128, sequences = 1;
};

struct BenchRates {  ///< tokens per second, of all sequences together
  double prefill_tok_s = 0, decode_tok_s = 0;
  bool stopped_early = false;
};

/// Evaluates `sequences` prompts at once and decodes after each. `round` makes prompts that no
/// round before had. Throws Error: kInterrupted after `stop`, kEvaluation when a generation fails.
BenchRates measure_round(Model& model, const BenchShape& shape, uint64_t round,
                         std::stop_token stop);

}  // namespace spnl::host
