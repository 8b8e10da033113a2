#include <cstdint>
#include <cstring>

#include "ops/cpu/kernel_table.h"

#define SPNL_UNROLL

namespace spnl::mistralrs::cpu {
namespace {

#include "ops/cpu/kernels/bits.inl"
#include "ops/cpu/kernels/simd_scalar.inl"
//
#include "ops/cpu/kernels/cached.inl"
//
#include "ops/cpu/kernels/elementwise.inl"
//
#include "ops/cpu/kernels/attention.inl"
#include "ops/cpu/kernels/matmul.inl"
#include "ops/cpu/kernels/rope.inl"
//
#include "ops/cpu/kernels/table.inl"

}  // namespace

const KernelTable& kernels_scalar() { return kTable; }

}  // namespace spnl::mistralrs::cpu
