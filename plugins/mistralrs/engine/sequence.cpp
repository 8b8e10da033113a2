#include "engine/sequence.h"

#include <algorithm>
#include <numeric>

#include "engine/extents.h"

namespace spnl::mistralrs {
namespace {

modelkit::SamplingParams of_sample(modelkit::SamplingParams params, uint32_t sample) {
  params.sample = sample;
  return params;
}

}  // namespace

Sequence::Sequence(std::shared_ptr<const Request> for_request, std::shared_ptr<const SpanPlan> how,
                   uint32_t sample_index, Mailbox& mailbox, BlockPool& pool, int32_t block_size)
    : request(std::move(for_request)),
      sample(sample_index),
      owner(&mailbox),
      ids(request->prompt),
      plan(std::move(how)),
      table(pool, block_size),
      sampler(of_sample(request->sampling.params, sample_index)),
      stops(request->sampling.stops) {}

int64_t Sequence::cached_tokens() const {
  return std::accumulate(cached.begin(), cached.end(), int64_t{0});
}

int64_t Sequence::storable_rows() const {
  if (!plan->own->store) return 0;
  const std::vector<int32_t>& at = plan->own->positions;
  const auto stored = [this](int32_t position) {
    return position < request->spans.storable_tokens;
  };
  return std::find_if_not(at.begin(), at.end(), stored) - at.begin();
}

bool Sequence::ready() const {
  return std::all_of(sees.begin(), sees.end(), [](const auto& extent) { return extent->ready(); });
}

Chain Sequence::chain() const {
  row_ids_ = plan->own->ids;
  row_positions_ = plan->own->positions;
  for (int64_t row = prompt_rows(); row < rows(); ++row) {
    row_ids_.push_back(id_of_row(row));
    row_positions_.push_back(position_of_row(row));
  }
  return {plan->own->root, row_ids_, row_positions_};
}

}  // namespace spnl::mistralrs
