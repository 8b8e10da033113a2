#include "plugin_requests.h"

#include <algorithm>

#include "spnl/backend.hpp"

namespace spnl::mistralrs {
namespace {

/// Fragments come in pre-order, so one begins where the last message or token fragment before it
/// ended.
std::vector<FragmentRange> fragment_ranges(const spnl_prompt& prompt,
                                           const std::vector<uint64_t>& ends) {
  std::vector<FragmentRange> ranges;
  uint64_t begin = 0;
  for (size_t i = 0; i < ends.size(); ++i) {
    ranges.push_back({std::min(begin, ends[i]), ends[i]});
    const int32_t kind = prompt.fragments[i]->kind;
    if (kind != SPNL_FRAG_ORDERED && kind != SPNL_FRAG_INDEPENDENT)
      begin = std::max(begin, ends[i]);
  }
  return ranges;
}

int64_t storable_tokens(const spnl_prompt& prompt, const std::vector<FragmentRange>& ranges) {
  for (size_t i = 0; i < ranges.size(); ++i)
    if ((prompt.fragments[i]->flags & SPNL_FRAG_NO_STORE) != 0)
      return static_cast<int64_t>(ranges[i].begin);
  return std::numeric_limits<int64_t>::max();
}

void refuse_unsupported(const spnl_request& request) {
  if (request.grammar.len > 0 || request.grammar_kind.len > 0)
    throw abi::Failure(SPNL_UNSUPPORTED, "grammar: mistralrs cannot constrain its output yet");
  if (request.prompt->tools_json.len > 0)
    throw abi::Failure(SPNL_UNSUPPORTED, "tools: mistralrs cannot offer tools to a model yet");
  if (request.span_mode == SPNL_SPAN_BLOCK || request.span_mode == SPNL_SPAN_BLEND)
    throw abi::Failure(SPNL_UNSUPPORTED, "spans: mistralrs has only the mode exact yet");
}

int32_t finish_code(Finish finish) {
  switch (finish) {
    case Finish::kEos:
      return SPNL_FIN_EOS;
    case Finish::kStop:
      return SPNL_FIN_STOP;
    case Finish::kLength:
      return SPNL_FIN_LENGTH;
    case Finish::kCancelled:
      return SPNL_FIN_CANCELLED;
    case Finish::kError:
      return SPNL_FIN_ERROR;
  }
  return SPNL_FIN_ERROR;
}

uint64_t ns_between(Clock::time_point begin, Clock::time_point end) {
  return end > begin ? static_cast<uint64_t>(std::chrono::nanoseconds(end - begin).count()) : 0;
}

/// Times that were never reached stay 0.
spnl_usage usage_of(const Sequence& s, std::vector<uint64_t>& tokens,
                    std::vector<uint64_t>& cached) {
  const auto hit = static_cast<uint64_t>(s.cached_tokens);
  for (const FragmentRange& f : s.request->fragments) {
    tokens.push_back(f.end - f.begin);
    cached.push_back(std::clamp(hit, f.begin, f.end) - f.begin);
  }
  spnl_usage usage{};
  usage.struct_size = sizeof usage;
  usage.n_fragments = static_cast<uint32_t>(tokens.size());
  usage.prompt_tokens = s.request->prompt.size();
  usage.cached_tokens = hit;
  usage.output_tokens = s.output_tokens();
  const Clock::time_point never{};
  if (s.started) usage.queue_ns = ns_between(s.request->submitted, s.first_step);
  if (s.prefill_end != never) usage.prefill_ns = ns_between(s.first_step, s.prefill_end);
  if (s.first_token != never)
    usage.first_token_ns = ns_between(s.request->submitted, s.first_token);
  if (s.first_token != never) usage.decode_ns = ns_between(s.first_token, s.last_token);
  usage.fragment_tokens = tokens.data();
  usage.fragment_cached = cached.data();
  return usage;
}

}  // namespace

Request to_request(const Model& model, const spnl_request& from) {
  abi::require(&from, "request");
  abi::require(from.prompt, "prompt");
  modelkit::validate_prompt(*from.prompt);
  refuse_unsupported(from);
  Request request;
  request.user_id = from.user_id;
  request.prefill_only = (from.flags & SPNL_REQ_PREFILL_ONLY) != 0;
  request.sampling =
      modelkit::read_sampling(from.sampling, *model.bundle().tokenizer, model.bundle().eos);
  modelkit::EncodedPrompt encoded = model.bundle().prompts->encode(*from.prompt);
  request.fragments = fragment_ranges(*from.prompt, encoded.ends);
  request.storable_tokens = storable_tokens(*from.prompt, request.fragments);
  request.prompt = std::move(encoded.ids);
  return request;
}

int32_t send_event(const spnl_events& events, const Event& event) {
  const Sequence& sequence = *event.sequence;
  spnl_event out{};
  out.struct_size = sizeof out;
  out.kind = event.finished ? SPNL_EV_FINISH : SPNL_EV_TOKENS;
  out.sequence = sequence.request->id;
  out.user_id = sequence.request->user_id;
  out.sample = sequence.sample;
  out.text = abi::str(event.text);
  std::vector<uint64_t> fragment_tokens, fragment_cached;
  spnl_usage usage{};
  spnl_error error{};
  error.struct_size = sizeof error;
  if (event.finished) {
    out.finish = finish_code(*sequence.finish);
    usage = usage_of(sequence, fragment_tokens, fragment_cached);
    out.usage = &usage;
    if (*sequence.finish == Finish::kError) {
      abi::fail(&error, SPNL_INTERNAL,
                std::string_view(sequence.error).substr(0, sequence.error.find('\n')));
      out.error = &error;
    }
  } else {
    out.n_tokens = 1;
    out.tokens = &event.token;
    if (sequence.request->sampling.want_logprobs) {
      out.logprobs = &event.logprob;
      out.top_k = static_cast<uint32_t>(event.top_ids.size());
      out.top_ids = event.top_ids.data();
      out.top_logprobs = event.top_logprobs.data();
    }
  }
  return events.event(events.user, &out);
}

}  // namespace spnl::mistralrs
