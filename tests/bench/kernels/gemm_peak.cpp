// What the int8 matrix product of the library's oneDNN reaches on this machine, as one line of
// JSON: the limit that prefill is compared with. Use: gemm_peak [threads].
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  constexpr int64_t kRows = 512, kSize = 2048;
  constexpr int kRounds = 40;
  const int threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 2;
  at::set_num_threads(threads);
  const at::Tensor x = at::randint(-127, 128, {kRows, kSize}, at::kChar),
                   w = at::randint(-127, 128, {kSize, kSize}, at::kChar).t();
  double best = 1e9;
  for (int i = 0; i < kRounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const at::Tensor y = at::_int_mm(x, w);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::min(best, seconds.count());
  }
  std::printf("{\"threads\":%d,\"int8_gemm_gmacs\":%.1f}\n", threads,
              static_cast<double>(kRows * kSize * kSize) / best * 1e-9);
  return 0;
}
