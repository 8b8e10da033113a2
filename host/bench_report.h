#pragma once
#include <string>
#include <vector>

#include "bench_plan.h"
#include "spnl/backends.h"

namespace spnl::host {

/// What the rounds of one setting gave, in their order; the first warmed up.
struct BenchFigures {
  std::vector<double> prefill, decode;  ///< tokens per second, of all sequences together
  std::vector<double> first_token;      ///< seconds until each sequence had its first token
};

struct BenchReport {
  BenchPlan plan;
  std::vector<BenchFigures> figures;  ///< of each setting of the plan
  std::string model;                  ///< "prefix/name"
  ModelInfo info;
  ModelStats stats;
  double load_seconds = 0;
  uint64_t peak_bytes = 0;  ///< most memory of the process, 0: unknown
  bool complete = false;    ///< false: stopped before all rounds were done

  bool empty() const;  ///< no round ended
};

std::string bench_table(const BenchReport& report);

/// One object on a line: a row for each setting and part measured, and beside them the keys of one
/// headline: 512 tokens and one sequence where they were measured, else the first of the plan.
std::string bench_json(const BenchReport& report);

}  // namespace spnl::host
