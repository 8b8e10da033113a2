#pragma once
#include <cstddef>
#include <cstdint>

namespace spnl::modelkit::jinja {

struct Run {
  uint32_t first, last;
  uint8_t stride;
};
struct CaseRun {
  uint32_t first, last;
  uint8_t stride;
  int32_t delta;
};
struct Multi {
  uint32_t from;
  uint32_t to[3];  ///< unused places are 0
};

#define SPNL_RUNS(name)      \
  extern const Run name[]; \
  extern const size_t name##Count
SPNL_RUNS(kAlpha);
SPNL_RUNS(kDecimal);
SPNL_RUNS(kDigitOnly);
SPNL_RUNS(kNumericOnly);
SPNL_RUNS(kSpace);
SPNL_RUNS(kLower);
SPNL_RUNS(kUpper);
SPNL_RUNS(kTitle);
SPNL_RUNS(kUnprintable);
SPNL_RUNS(kCaseIgnorable);
#undef SPNL_RUNS

extern const CaseRun kToUpper[], kToLower[], kToTitle[];
extern const size_t kToUpperCount, kToLowerCount, kToTitleCount;
extern const Multi kUpperMulti[], kTitleMulti[];
extern const size_t kUpperMultiCount, kTitleMultiCount;

}  // namespace spnl::modelkit::jinja
