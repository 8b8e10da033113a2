#include "optimizer/seeds.h"

namespace spnl::seeds {

uint64_t mix(uint64_t hash, uint64_t value) {
  uint64_t x = hash ^ (value + 0x9E3779B97F4A7C15ull + (hash << 6) + (hash >> 2));
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

uint64_t of_sample(uint64_t seed, uint32_t index) { return index == 0 ? seed : mix(seed, index); }

}  // namespace spnl::seeds
