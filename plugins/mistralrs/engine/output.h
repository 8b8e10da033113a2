#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/sequence.h"

namespace spnl::mistralrs {

class Model;

/// What a session's owner hears of: one token, or the end of one sample.
struct Event {
  /// With `finished` it is at rest; else steps may change all but what is const in it.
  std::shared_ptr<Sequence> sequence;
  bool finished = false;  ///< else: one token
  int32_t token = 0;
  float logprob = 0;             ///< where the request wants them
  std::vector<int32_t> top_ids;  ///< [top_logprobs], best first
  std::vector<float> top_logprobs;
  std::string text;  ///< whole characters; with `finished` what was held back
};

/// Chooses the next token from logits [vocab] and works out what it means: appends it to the
/// sequence and adds events, of which the last ends the sample when the token did (eos, stop
/// string, length).
void sample_token(const Model& model, std::span<const float> logits, Sequence& sequence,
                  std::vector<Event>& events);

/// Ends a sample.
void finish_sequence(Sequence& sequence, Finish finish, std::vector<Event>& events);

}  // namespace spnl::mistralrs
