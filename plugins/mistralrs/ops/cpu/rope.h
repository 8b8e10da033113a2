#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "ops/cpu/isa.h"
#include "ops/cpu/thread_team.h"

namespace spnl::mistralrs::cpu {

enum class RopeKind { kHalfSplit, kInterleaved };

/// Frequencies of a rotary embedding: pair i turns by position * inv_freq[i]; cos and sin are
/// multiplied by `magnitude` (yarn, longrope). Angles are computed in double and rounded to
/// float32.
struct RopeTurns {
  std::vector<double> inv_freq;  ///< [rotary_dims / 2]; empty: no rotation (NoPE)
  double magnitude = 1.0;        ///< applied once to q and once to k

  bool operator==(const RopeTurns&) const = default;
};

/// Rotary embedding of one kind of layer. Dimensions outside first_dim .. + 2 * pairs stay as they
/// are.
struct Rope {
  RopeKind kind = RopeKind::kHalfSplit;
  RopeTurns turns;
  int32_t first_dim = 0;   ///< of a head, that turns
  RopeTurns long_turns{};  ///< of the sequences marked so (longrope); as many pairs, or none

  int64_t pairs() const { return static_cast<int64_t>(turns.inv_freq.size()); }
  const RopeTurns& of(bool long_rope) const { return long_rope ? long_turns : turns; }
};

/// Where the rows of a batch are, each on its own.
struct RowPositions {
  RowPositions(std::span<const int32_t> all) : at(all) {}
  RowPositions(const std::vector<int32_t>& all) : at(all) {}
  RowPositions(const std::vector<int32_t>& all, const std::vector<uint8_t>& long_rows)
      : at(all), long_rope(long_rows) {}

  std::span<const int32_t> at;         ///< [m]
  std::span<const uint8_t> long_rope;  ///< [m] 1: the row turns by Rope::long_turns; empty: none

  bool is_long(int64_t row) const {
    return !long_rope.empty() && long_rope[static_cast<size_t>(row)] != 0;
  }
};

/// Cosines and sines of the rows of a batch, computed once for all layers, heads and tiles that
/// turn alike. One user at a time, always with the same instruction set.
class RopeAngles {
 public:
  /// Of each row cos [pairs], then sin [pairs]. Valid until the next call.
  const float* of_rows(ThreadTeam& team, Isa isa, const Rope& rope, const RowPositions& positions);

 private:
  /// What was computed last for one rope.
  struct Batch {
    RopeTurns turns, long_turns;
    std::vector<int32_t> positions;
    std::vector<uint8_t> long_rope;
    std::vector<float> angles;

    bool is_of(const Rope& rope) const;
    bool has(const RowPositions& rows) const;
    void compute(ThreadTeam& team, Isa isa, const Rope& rope, const RowPositions& rows);
  };
  Batch& batch_of(const Rope& rope);

  std::vector<Batch>
      batches_;  // of the ropes in use: two where layers with a window have their own
};

}  // namespace spnl::mistralrs::cpu
