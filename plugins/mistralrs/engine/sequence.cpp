#include "engine/sequence.h"

namespace spnl::mistralrs {
namespace {

modelkit::SamplingParams of_sample(modelkit::SamplingParams params, uint32_t sample) {
  params.sample = sample;
  return params;
}

}  // namespace

Sequence::Sequence(std::shared_ptr<const Request> for_request, uint32_t sample_index,
                   Mailbox& mailbox, BlockPool& pool, int32_t block_size)
    : request(std::move(for_request)),
      sample(sample_index),
      owner(&mailbox),
      ids(request->prompt),
      table(pool, block_size),
      sampler(of_sample(request->sampling.params, sample_index)),
      stops(request->sampling.stops) {}

}  // namespace spnl::mistralrs
