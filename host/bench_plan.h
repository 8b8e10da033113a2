#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "args.h"

namespace spnl::host {

/// What is measured of `sequences` prompts of `tokens` tokens that run together.
struct BenchSetting {
  uint64_t tokens = 0;  ///< 0: decoding begins with nothing before it
  uint64_t sequences = 1;
  bool prefill = false, decode = false;
};

struct BenchPlan {
  std::vector<BenchSetting> settings;  ///< no two of the same tokens and sequences
  uint64_t gen_tokens = 0;             ///< decode steps of each sequence
  uint64_t repeat = 0;                 ///< rounds after one that warms up
  uint64_t threads = 0;
  double timeout = 0;  ///< seconds, without loading
};

/// From --prompt-tokens, --depth and --sequences: every prompt length and every depth with every
/// number of sequences; the overview when none of them is given. Throws Error(kUsage).
BenchPlan bench_plan(const Arguments& args);

/// Shortens what a model of `context` tokens (0: unknown) cannot hold; tells of it in lines.
std::vector<std::string> fit_to_context(BenchPlan& plan, uint64_t context);

}  // namespace spnl::host
