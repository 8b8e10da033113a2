#include "ops/cpu/rope.h"

#include <algorithm>

#include "ops/cpu/for_each_row.h"
#include "ops/cpu/kernel_table.h"

namespace spnl::mistralrs::cpu {
namespace {

constexpr size_t kMostRopes = 4;          ///< with more, the last one is forgotten for a new one
constexpr int64_t kElementsPerPair = 16;  ///< that another op does in the time of one pair

}  // namespace

bool RopeAngles::Batch::is_of(const Rope& rope) const {
  return turns == rope.turns && long_turns == rope.long_turns;
}

bool RopeAngles::Batch::has(const RowPositions& rows) const {
  return std::ranges::equal(positions, rows.at) && std::ranges::equal(long_rope, rows.long_rope);
}

void RopeAngles::Batch::compute(ThreadTeam& team, Isa isa, const Rope& rope,
                                const RowPositions& rows) {
  positions.clear();  // should memory run out, nothing counts as computed
  turns = rope.turns;
  long_turns = rope.long_turns;
  long_rope.assign(rows.long_rope.begin(), rows.long_rope.end());
  const auto m = static_cast<int64_t>(rows.at.size()), pairs = rope.pairs();
  angles.resize(static_cast<size_t>(m * 2 * pairs));
  for_each_row(team, m, pairs * kElementsPerPair, [&](int64_t row) {
    const RopeTurns& row_turns = rope.of(rows.is_long(row));
    float* cos = angles.data() + row * 2 * pairs;
    kernels(isa).rope_angles(row_turns.inv_freq.data(), pairs,
                             static_cast<double>(rows.at[static_cast<size_t>(row)]),
                             row_turns.magnitude, cos, cos + pairs);
  });
  positions.assign(rows.at.begin(), rows.at.end());
}

RopeAngles::Batch& RopeAngles::batch_of(const Rope& rope) {
  for (Batch& batch : batches_)
    if (batch.is_of(rope)) return batch;
  return batches_.size() < kMostRopes ? batches_.emplace_back() : batches_.back();
}

const float* RopeAngles::of_rows(ThreadTeam& team, Isa isa, const Rope& rope,
                                 const RowPositions& positions) {
  Batch& batch = batch_of(rope);
  if (!batch.is_of(rope) || !batch.has(positions)) batch.compute(team, isa, rope, positions);
  return batch.angles.data();
}

}  // namespace spnl::mistralrs::cpu
