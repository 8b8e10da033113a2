#include <immintrin.h>

#include <cstdint>
#include <cstring>
#include <utility>

#include "ops/cpu/kernel_table.h"

namespace spnl::mistralrs::cpu {
namespace {

#include "ops/cpu/kernels/bits.inl"
#include "ops/cpu/kernels/simd_avx2.inl"
//
#include "ops/cpu/kernels/simd_avxvnni.inl"
//
#include "ops/cpu/kernels/matmul.inl"

template <Storage S>
constexpr MatmulKernel kProduct = matmul_tile<S>;
#include "ops/cpu/kernels/products.inl"

}  // namespace

const KernelTable& kernels_avxvnni() {
  static const KernelTable table = with_quantised_products(kernels_avx2());
  return table;
}

}  // namespace spnl::mistralrs::cpu
