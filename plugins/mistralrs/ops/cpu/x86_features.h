#pragma once

// What the compiler's own detection does not know everywhere.
namespace spnl::mistralrs::cpu {

/// VPDPBUSD on 256 bits without AVX-512. Counts only where AVX2 may be used.
bool has_avx_vnni();
/// Tiles of int8. True when the CPU has them, the operating system saves them, and it has given
/// this process the permission to use them, which the first call asks for.
bool has_amx_int8();

}  // namespace spnl::mistralrs::cpu
