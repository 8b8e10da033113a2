#include "engine/output.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/model.h"

namespace spnl::mistralrs {
namespace {

double log_sum_exp(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - top);
  return top + std::log(sum);
}

void add_logprobs(std::span<const float> logits, const Request& request, Event& event) {
  if (!request.sampling.want_logprobs) return;
  const double lse = log_sum_exp(logits);
  event.logprob = static_cast<float>(logits[static_cast<size_t>(event.token)] - lse);
  const size_t k = std::min<size_t>(request.sampling.top_logprobs, logits.size());
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(),
                    [&](int32_t a, int32_t b) {
                      const float x = logits[static_cast<size_t>(a)],
                                  y = logits[static_cast<size_t>(b)];
                      return x > y || (x == y && a < b);
                    });
  for (size_t i = 0; i < k; ++i) {
    event.top_ids.push_back(order[i]);
    event.top_logprobs.push_back(static_cast<float>(logits[static_cast<size_t>(order[i])] - lse));
  }
}

}  // namespace

void sample_token(const Model& model, std::span<const float> logits, Sequence& s,
                  std::vector<Event>& events) {
  const Request& request = *s.request;
  Event event;
  event.sequence = s.shared_from_this();
  event.token = s.sampler.sample(logits, s.ids);
  s.last_token = Clock::now();
  if (s.output_tokens() == 0) s.first_token = s.last_token;
  if (model.is_eos(event.token)) return finish_sequence(s, Finish::kEos, events);

  s.ids.push_back(event.token);
  add_logprobs(logits, request, event);
  event.text = s.stops.push(s.utf8.push(model.piece(event.token)));
  events.push_back(std::move(event));
  if (s.stops.stopped()) return finish_sequence(s, Finish::kStop, events);
  if (request.sampling.max_tokens != 0 && s.output_tokens() >= request.sampling.max_tokens)
    return finish_sequence(s, Finish::kLength, events);
  if (s.length() >= model.context()) finish_sequence(s, Finish::kLength, events);
}

void finish_sequence(Sequence& sequence, Finish finish, std::vector<Event>& events) {
  sequence.finish = finish;
  Event event;
  event.sequence = sequence.shared_from_this();
  event.finished = true;
  event.text = sequence.stops.push(sequence.utf8.finish());
  event.text += sequence.stops.finish();
  events.push_back(std::move(event));
}

}  // namespace spnl::mistralrs
