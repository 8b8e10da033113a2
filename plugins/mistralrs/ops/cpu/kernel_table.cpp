#include "ops/cpu/kernel_table.h"

namespace spnl::mistralrs::cpu {

const KernelTable& kernels(Isa isa) {
#if defined(SPNL_CPU_X86)
  if (isa == Isa::kAvx2) return kernels_avx2();
  if (isa == Isa::kAvxVnni) return kernels_avxvnni();
  if (isa == Isa::kAvx512Vnni) return kernels_avx512vnni();
  if (isa == Isa::kAmx) return kernels_amx();
#else
  (void)isa;
#endif
  return kernels_scalar();
}

}  // namespace spnl::mistralrs::cpu
