#include "engine/batch_builder.h"

#include <algorithm>

#include "engine/extents.h"

namespace spnl::mistralrs {
namespace {

/// What the rows of a sequence see: extents, each where it stands here, and their own rows up to
/// `end`. Nothing is hidden but by its position.
void add_runs(const Sequence& s, int64_t end, BlockKind kind, std::vector<cpu::KvRun>& runs) {
  const std::vector<SeenRun>& seen = s.plan->own->sees;
  for (size_t i = 0; i < seen.size(); ++i) {
    const SeenRun& run = seen[i];
    const int32_t e0 = run.position - run.offset();
    runs.push_back({s.sees[i]->blocks().blocks(kind).data(), run.lo, run.hi, e0, run.offset()});
  }
  const std::vector<int32_t>& pieces = s.plan->own->pieces;  // output goes on with the last one
  for (size_t i = 0; i < pieces.size() && pieces[i] < end; ++i) {
    const int64_t hi = i + 1 < pieces.size() ? std::min<int64_t>(pieces[i + 1], end) : end;
    runs.push_back({s.table.blocks(kind).data(), pieces[i], static_cast<int32_t>(hi),
                    s.position_of_row(pieces[i]), 0});
  }
}

void place(std::span<const Chunk> plan, BlockKind kind, Placement& at) {
  std::vector<size_t> first_run;
  int64_t first_row = 0;
  for (const Chunk& chunk : plan) {
    const Sequence& s = *chunk.sequence;
    const int64_t end = s.computed + chunk.rows;
    for (int64_t row = s.computed; row < end; ++row) at.slots.push_back(s.table.slot(row, kind));
    first_run.push_back(at.runs.size());
    add_runs(s, end, kind, at.runs);
    at.sequences.push_back({first_row, chunk.rows, {}});
    first_row += chunk.rows;
  }
  first_run.push_back(at.runs.size());
  for (size_t i = 0; i < plan.size(); ++i)  // now that the runs stay where they are
    at.sequences[i].runs =
        std::span(at.runs).subspan(first_run[i], first_run[i + 1] - first_run[i]);
}

}  // namespace

void build_batch(std::span<const Chunk> plan, bool windows, Batch& batch) {
  batch.clear();
  for (const Chunk& chunk : plan) {
    const Sequence& s = *chunk.sequence;
    const int64_t end = s.computed + chunk.rows;
    for (int64_t row = s.computed; row < end; ++row) {
      batch.ids.push_back(row < s.rows() ? s.id_of_row(row)
                                         : s.guesses[static_cast<size_t>(row - s.rows())]);
      batch.positions.push_back(s.position_of_row(row));
      batch.long_rope.push_back(s.long_rope ? 1 : 0);
    }
    if (s.request->prefill_only) continue;
    for (int64_t row = s.rows(); row <= end; ++row)
      batch.logit_rows.push_back(static_cast<int32_t>(batch.rows() - 1 - (end - row)));
  }
  place(plan, BlockKind::kFull, batch.full);
  if (windows) place(plan, BlockKind::kWindowed, batch.windowed);
}

}  // namespace spnl::mistralrs
