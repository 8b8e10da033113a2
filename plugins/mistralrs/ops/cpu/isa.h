#pragma once
#include <string_view>
#include <vector>

namespace spnl::mistralrs::cpu {

/// Instruction sets that have kernels of their own, weakest first.
///   kAvxVnni: kAvx2 with the dot products of VNNI; the same bits.
///   kAmx: kAvx512Vnni with tiles of int8 for products of many rows; the same bits.
enum class Isa { kScalar, kAvx2, kAvxVnni, kAvx512Vnni, kAmx };

/// "scalar", "avx2", "avx_vnni", "avx512_vnni", "amx"
std::string_view isa_name(Isa isa);
std::vector<Isa>
supported_isas();  ///< by this CPU and operating system, weakest first; never empty
/// The best one, or the one `forced` names (MISTRALRS_CPU_ISA). Throws
/// modelkit::Error(kUnsupported), listing what there is, when the name is unknown or the CPU lacks
/// it. Empty: the best.
Isa choose_isa(std::string_view forced);

}  // namespace spnl::mistralrs::cpu
