#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "ops/cpu/kernel_table.h"

namespace spnl::mistralrs::cpu {
namespace {

template <int N>
struct Count {
  static constexpr int kValue = N;
};

#include "ops/cpu/kernels/bits.inl"
#include "ops/cpu/kernels/simd_avx2.inl"
//
#include "ops/cpu/kernels/attention.inl"
#include "ops/cpu/kernels/elementwise.inl"
#include "ops/cpu/kernels/matmul.inl"
#include "ops/cpu/kernels/table.inl"

}  // namespace

const KernelTable& kernels_avx2() { return kTable; }

}  // namespace spnl::mistralrs::cpu
