#include "ops/cpu/isa.h"

#include <string>

#include "spnl/modelkit/error.h"
#if defined(SPNL_CPU_X86)
#include "ops/cpu/x86_features.h"
#endif

namespace spnl::mistralrs::cpu {

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvxVnni:
      return "avx_vnni";
    case Isa::kAvx512Vnni:
      return "avx512_vnni";
    case Isa::kAmx:
      return "amx";
  }
  return "unknown";
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> isas{Isa::kScalar};
#if defined(SPNL_CPU_X86)
  // These builtins also ask the operating system (XGETBV) whether it saves the wide registers.
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("f16c")) {
    isas.push_back(Isa::kAvx2);
    if (has_avx_vnni()) isas.push_back(Isa::kAvxVnni);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vnni")) {
      isas.push_back(Isa::kAvx512Vnni);
      if (has_amx_int8()) isas.push_back(Isa::kAmx);
    }
  }
#endif
  return isas;
}

Isa choose_isa(std::string_view forced) {
  const std::vector<Isa> isas = supported_isas();
  if (forced.empty()) return isas.back();
  std::string names;
  for (Isa isa : isas) {
    if (isa_name(isa) == forced) return isa;
    names += names.empty() ? "" : ", ";
    names += isa_name(isa);
  }
  throw modelkit::Error(
      modelkit::ErrorCode::kUnsupported,
      "instruction set '" + std::string(forced) + "' is not available here; there are: " + names);
}

}  // namespace spnl::mistralrs::cpu
