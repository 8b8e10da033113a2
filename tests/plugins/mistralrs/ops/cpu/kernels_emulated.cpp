// The kernels for AMX with tiles in software. Defines what the library's kernels_amx.cpp defines,
// so that the linker does not take that from the library.
#include <stdexcept>
#include <string>

#define SPNL_TILES "tiles_emulated.inl"
#include "ops/cpu/kernels/kernels_amx.cpp"
