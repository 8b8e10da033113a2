#pragma once
#include <cstdint>

/// How seeds are made from seeds, so that a run repeats exactly on every machine.
namespace spnl::seeds {

/// Finaliser of splitmix64 over the combination.
uint64_t mix(uint64_t hash, uint64_t value);

/// The seed of sample `index` of a generate whose first sample has `seed`.
uint64_t of_sample(uint64_t seed, uint32_t index);

}  // namespace spnl::seeds
