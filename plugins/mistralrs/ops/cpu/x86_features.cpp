#include "ops/cpu/x86_features.h"

#include <cpuid.h>

#include <cstdint>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace spnl::mistralrs::cpu {
namespace {

struct Registers {
  uint32_t a = 0, b = 0, c = 0, d = 0;
};

bool bit(uint32_t word, int n) { return (word >> n & 1) != 0; }

/// All zero where the CPU has no such leaf. Bits: Intel SDM volume 2, CPUID.
Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d) == 0) return {};
  return r;
}

/// The parts of the processor's state that the operating system saves: XCR0.
uint32_t saved_state() {
  constexpr int kOsxsave = 27;
  if (!bit(cpuid(1, 0).c, kOsxsave)) return 0;
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

/// Linux saves 8 KB of tiles only for processes that ask: Documentation/arch/x86/xstate.rst.
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

bool detect_amx_int8() {
  constexpr int kAmxTile = 24, kAmxInt8 = 25, kTileConfig = 17, kTileData = 18;
  const uint32_t features = cpuid(7, 0).d, saved = saved_state();
  return bit(features, kAmxTile) && bit(features, kAmxInt8) && bit(saved, kTileConfig) &&
         bit(saved, kTileData) && may_use_tiles();
}

}  // namespace

bool has_avx_vnni() {
  constexpr int kAvxVnni = 4;
  return bit(cpuid(7, 1).a, kAvxVnni);
}

bool has_amx_int8() {
  static const bool has = detect_amx_int8();
  return has;
}

}  // namespace spnl::mistralrs::cpu
