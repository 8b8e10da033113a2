#include "peak.h"

#include <chrono>

#if defined(SPNL_CPU_X86)
#include <immintrin.h>
#endif

namespace spnl::bench {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

#if defined(SPNL_CPU_X86)
__attribute__((target("avx512f,avx512vnni"))) double vnni_loop(long rounds) {
  const __m512i w = _mm512_set1_epi32(0x01010101), x = _mm512_set1_epi32(0x02020202);
  __m512i a = w, b = w, c = w, d = w, e = w, f = w, g = w, h = w;
  const double start = now();
  for (long i = 0; i < rounds; ++i) {
    a = _mm512_dpbusd_epi32(a, w, x);
    b = _mm512_dpbusd_epi32(b, w, x);
    c = _mm512_dpbusd_epi32(c, w, x);
    d = _mm512_dpbusd_epi32(d, w, x);
    e = _mm512_dpbusd_epi32(e, w, x);
    f = _mm512_dpbusd_epi32(f, w, x);
    g = _mm512_dpbusd_epi32(g, w, x);
    h = _mm512_dpbusd_epi32(h, w, x);
    __asm__ volatile("" : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f), "+v"(g), "+v"(h));
  }
  return 8.0 * 64.0 * static_cast<double>(rounds) / (now() - start) * 1e-9;
}

__attribute__((target("avx2"))) void read_vectors(const unsigned char* data, long bytes) {
  const auto* p = reinterpret_cast<const __m256i*>(data);
  __m256i s[4] = {};
  for (long i = 0; i + 4 <= bytes / 32; i += 4) {
    for (int j = 0; j < 4; ++j) s[j] = _mm256_xor_si256(s[j], _mm256_loadu_si256(p + i + j));
  }
  __asm__ volatile("" : : "x"(s[0]), "x"(s[1]), "x"(s[2]), "x"(s[3]));
}
#endif

/// For any processor.
void read_words(const unsigned char* data, long bytes) {
  const auto* words = reinterpret_cast<const unsigned long long*>(data);
  unsigned long long s[8] = {};
  for (long i = 0; i + 8 <= bytes / 8; i += 8) {
    for (int j = 0; j < 8; ++j) s[j] += words[i + j];
  }
  volatile unsigned long long sink = s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
  (void)sink;
}

}  // namespace

double peak_int8_gmacs() {
#if defined(SPNL_CPU_X86)
  if (__builtin_cpu_supports("avx512vnni")) {
    return vnni_loop(2000000);
  }
#endif
  return 0;
}

void read_pass(const unsigned char* data, long bytes) {
#if defined(SPNL_CPU_X86)
  if (__builtin_cpu_supports("avx2")) return read_vectors(data, bytes);
#endif
  read_words(data, bytes);
}

}  // namespace spnl::bench
