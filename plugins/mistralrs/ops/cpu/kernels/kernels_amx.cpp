#include <immintrin.h>

#include <cstdint>
#include <cstring>
#include <utility>

#include "ops/cpu/kernel_table.h"
#include "ops/cpu/kernels/tile_config.h"

// Tests replace the tiles by ones in software, to run this file on any CPU with AVX512-VNNI.
#ifndef SPNL_TILES
#define SPNL_TILES "ops/cpu/kernels/tiles_amx.inl"
#endif

namespace spnl::mistralrs::cpu {
namespace {

#include "ops/cpu/kernels/bits.inl"
#include "ops/cpu/kernels/simd_avx512vnni.inl"
//
#include SPNL_TILES
//
#include "ops/cpu/kernels/matmul.inl"
//
#include "ops/cpu/kernels/matmul_amx.inl"

template <Storage S>
constexpr MatmulKernel kProduct = tiles_matmul<S>;
#include "ops/cpu/kernels/products.inl"

}  // namespace

const KernelTable& kernels_amx() {
  static const KernelTable table = with_quantised_products(kernels_avx512vnni());
  return table;
}

}  // namespace spnl::mistralrs::cpu
