#pragma once
#include <span>

#include "engine/scheduler.h"
#include "model/batch.h"

namespace spnl::mistralrs {

/// Lays the chunks of a plan one after the other, guesses after a sequence's ids; logits are wanted
/// for the last token of each sequence that is complete after this forward and goes on to sample,
/// and for its guesses. `windows`: the model has windowed layers. The batch points into the
/// sequences' block tables.
void build_batch(std::span<const Chunk> plan, bool windows, Batch& batch);

}  // namespace spnl::mistralrs
