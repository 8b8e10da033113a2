#pragma once

// What this machine can do at most, measured next to the kernels: the unit their times are read in.
namespace spnl::bench {

/// Multiply-adds of int8 per second by one thread, in 10^9: a loop of independent dot-product
/// instructions (AVX-512 VNNI, else 0).
double peak_int8_gmacs();
/// Streams over `data` with one thread.
void read_pass(const unsigned char* data, long bytes);

}  // namespace spnl::bench
