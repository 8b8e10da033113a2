#pragma once
#include <algorithm>
#include <iostream>
#include <vector>

#include "ops/cpu/isa.h"

namespace spnl::test {

/// The instruction sets that this program tests: those of this machine, or, built with
/// SPNL_EMULATED_KERNELS, those whose kernels it brings itself in a form for any CPU with
/// AVX512-VNNI (none on others).
inline std::vector<mistralrs::cpu::Isa> tested_isas() {
  using mistralrs::cpu::Isa;
  const std::vector<Isa> here = mistralrs::cpu::supported_isas();
#if defined(SPNL_EMULATED_KERNELS)
  if (std::find(here.begin(), here.end(), Isa::kAvx512Vnni) == here.end()) return {};
  return {Isa::kAvxVnni, Isa::kAmx};
#else
  return here;
#endif
}

/// Says in the test's output what ran.
struct PrintTestedIsas {
  PrintTestedIsas() {
    std::cout << "instruction sets tested:";
    for (auto isa : tested_isas()) std::cout << ' ' << mistralrs::cpu::isa_name(isa);
#if defined(SPNL_EMULATED_KERNELS)
    std::cout << " (emulated)";
#endif
    std::cout << std::endl;
  }
};

}  // namespace spnl::test
