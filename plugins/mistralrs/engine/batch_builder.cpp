#include "engine/batch_builder.h"

#include <algorithm>

#include "engine/extents.h"

namespace spnl::mistralrs {
namespace {

/// What the rows of a sequence see: extents, each where it stands here, and their own rows up to
/// `end`. Nothing is hidden but by its position.
void add_runs(const Sequence& s, int64_t end, std::vector<cpu::KvRun>& runs) {
  const std::vector<SeenRun>& seen = s.plan->own->sees;
  for (size_t i = 0; i < seen.size(); ++i) {
    const SeenRun& run = seen[i];
    const int32_t e0 = run.position - run.offset();
    runs.push_back({s.sees[i]->blocks().blocks().data(), run.lo, run.hi, e0, run.offset()});
  }
  const std::vector<int32_t>& pieces = s.plan->own->pieces;  // output goes on with the last one
  for (size_t i = 0; i < pieces.size() && pieces[i] < end; ++i) {
    const int64_t hi = i + 1 < pieces.size() ? std::min<int64_t>(pieces[i + 1], end) : end;
    runs.push_back({s.table.blocks().data(), pieces[i], static_cast<int32_t>(hi),
                    s.position_of_row(pieces[i]), 0});
  }
}

}  // namespace

void build_batch(std::span<const Chunk> plan, Batch& batch) {
  batch.clear();
  std::vector<size_t> first_run;
  for (const Chunk& chunk : plan) {
    const Sequence& s = *chunk.sequence;
    const int64_t first_row = batch.rows(), end = s.computed + chunk.rows;
    for (int64_t row = s.computed; row < end; ++row) {
      batch.ids.push_back(row < s.rows() ? s.id_of_row(row)
                                         : s.guesses[static_cast<size_t>(row - s.rows())]);
      batch.positions.push_back(s.position_of_row(row));
      batch.long_rope.push_back(s.long_rope ? 1 : 0);
      batch.slots.push_back(s.table.slot(row));
    }
    first_run.push_back(batch.runs.size());
    add_runs(s, end, batch.runs);
    batch.sequences.push_back({first_row, chunk.rows, {}});
    if (s.request->prefill_only) continue;
    for (int64_t row = s.rows(); row <= end; ++row)
      batch.logit_rows.push_back(static_cast<int32_t>(batch.rows() - 1 - (end - row)));
  }
  first_run.push_back(batch.runs.size());
  for (size_t i = 0; i < plan.size(); ++i)  // now that the runs stay where they are
    batch.sequences[i].runs =
        std::span(batch.runs).subspan(first_run[i], first_run[i + 1] - first_run[i]);
}

}  // namespace spnl::mistralrs
