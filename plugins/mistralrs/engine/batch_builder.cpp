#include "engine/batch_builder.h"

namespace spnl::mistralrs {

void build_batch(std::span<const Chunk> plan, Batch& batch) {
  batch.clear();
  batch.runs.reserve(plan.size());  // `sequences` point into it
  for (const Chunk& chunk : plan) {
    const Sequence& s = *chunk.sequence;
    const int64_t first_row = batch.rows(), end = s.computed + chunk.rows;
    for (int64_t i = s.computed; i < end; ++i) {
      batch.ids.push_back(i < s.length() ? s.ids[static_cast<size_t>(i)]
                                         : s.guesses[static_cast<size_t>(i - s.length())]);
      batch.positions.push_back(static_cast<int32_t>(i));
      batch.long_rope.push_back(s.long_rope ? 1 : 0);
      batch.slots.push_back(s.table.slot(i));
    }
    // A plain sequence is one run: cached and linear positions are the same.
    batch.runs.push_back({s.table.blocks().data(), 0, static_cast<int32_t>(end), 0, 0});
    batch.sequences.push_back({first_row, chunk.rows, std::span(&batch.runs.back(), 1)});
    if (s.request->prefill_only) continue;
    for (int64_t i = s.length(); i <= end; ++i)
      batch.logit_rows.push_back(static_cast<int32_t>(batch.rows() - 1 - (end - i)));
  }
}

}  // namespace spnl::mistralrs
