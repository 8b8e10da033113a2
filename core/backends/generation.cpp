#include "backends/generation.h"

#include <algorithm>
#include <charconv>

#include "backends/abi_check.h"
#include "hub/printable.h"
#include "spnl/backend.hpp"
#include "spnl/error.h"

namespace spnl {

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEos:
      return "eos";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
    case FinishReason::kToolCall:
      return "tool_call";
  }
  return "error";
}

}  // namespace spnl

namespace spnl::backends {

namespace {

FinishReason reason_of(int32_t finish) {
  switch (finish) {
    case SPNL_FIN_EOS:
      return FinishReason::kEos;
    case SPNL_FIN_STOP:
      return FinishReason::kStop;
    case SPNL_FIN_LENGTH:
      return FinishReason::kLength;
    case SPNL_FIN_CANCELLED:
      return FinishReason::kCancelled;
    case SPNL_FIN_TOOL_CALL:
      return FinishReason::kToolCall;
    default:
      return FinishReason::kError;  // also the numbers of a later minor
  }
}

Usage usage_of(const spnl_usage* usage) {
  if (usage == nullptr || usage->struct_size < kMinUsage) return {};
  return {usage->prompt_tokens, usage->cached_tokens,  usage->output_tokens, usage->queue_ns,
          usage->prefill_ns,    usage->first_token_ns, usage->decode_ns};
}

/// "", "exact", "block", "blend", "blend:K".
void set_span_mode(const std::string& mode, spnl_request& wire) {
  if (mode.empty()) return;
  if (mode == "exact") {
    wire.span_mode = SPNL_SPAN_EXACT;
  } else if (mode == "block") {
    wire.span_mode = SPNL_SPAN_BLOCK;
  } else if (mode == "blend") {
    wire.span_mode = SPNL_SPAN_BLEND;
  } else {
    wire.span_mode = SPNL_SPAN_BLEND;
    const std::string_view rows =
        mode.starts_with("blend:") ? std::string_view(mode).substr(6) : "";
    const auto [end, failed] = std::from_chars(rows.data(), rows.data() + rows.size(), wire.span_k);
    if (rows.empty() || failed != std::errc() || end != rows.data() + rows.size())
      throw Error(ErrorCode::kBadQuery, "no span mode '" + hub::printable(mode, 80) + "'", "",
                  "use exact, block, blend or blend:K");
  }
}

template <class T, class U>
void set(const std::optional<T>& from, U& to, uint64_t bit, spnl_sampling& sampling) {
  if (!from) return;
  to = *from;
  sampling.set |= bit;
}

void set_dry(const Dry& dry, const std::vector<spnl_str>& breakers, spnl_sampling& out) {
  out.dry_multiplier = dry.multiplier;
  out.dry_base = dry.base;
  out.dry_allowed_length = dry.allowed_length;
  out.dry_window = dry.window;
  out.dry_breakers = breakers.data();
  out.n_dry_breakers = static_cast<uint32_t>(breakers.size());
  out.set |= SPNL_SET_DRY;
}

void set_sampling(const GenerateRequest& request, const RequestWire& wire, spnl_sampling& out) {
  out.struct_size = sizeof out;
  out.samples = std::max<uint32_t>(request.samples, 1);
  set(request.temperature, out.temperature, SPNL_SET_TEMPERATURE, out);
  set(request.top_p, out.top_p, SPNL_SET_TOP_P, out);
  set(request.min_p, out.min_p, SPNL_SET_MIN_P, out);
  set(request.repeat_penalty, out.repeat_penalty, SPNL_SET_REPEAT_PENALTY, out);
  set(request.presence_penalty, out.presence_penalty, SPNL_SET_PRESENCE_PENALTY, out);
  set(request.frequency_penalty, out.frequency_penalty, SPNL_SET_FREQUENCY_PENALTY, out);
  set(request.top_k, out.top_k, SPNL_SET_TOP_K, out);
  set(request.max_tokens, out.max_tokens, SPNL_SET_MAX_TOKENS, out);
  set(request.top_logprobs, out.top_logprobs, SPNL_SET_TOP_LOGPROBS, out);
  set(request.seed, out.seed, SPNL_SET_SEED, out);
  set(request.typical_p, out.typical_p, SPNL_SET_TYPICAL_P, out);
  set(request.penalty_window, out.penalty_window, SPNL_SET_PENALTY_WINDOW, out);
  set(request.min_tokens, out.min_tokens, SPNL_SET_MIN_TOKENS, out);
  if (request.dry) set_dry(*request.dry, wire.dry_breakers, out);
  if (!wire.logit_biases.empty()) {
    out.logit_biases = wire.logit_biases.data();
    out.n_logit_biases = static_cast<uint32_t>(wire.logit_biases.size());
    out.set |= SPNL_SET_LOGIT_BIASES;
  }
  if (!wire.stops.empty()) {
    out.stops = wire.stops.data();
    out.n_stops = static_cast<uint32_t>(wire.stops.size());
    out.set |= SPNL_SET_STOPS;
  }
}

}  // namespace

std::optional<EventCopy> EventCopy::from(const spnl_event& event) {
  if (event.struct_size < kMinEvent ||
      (event.kind != SPNL_EV_TOKENS && event.kind != SPNL_EV_FINISH))
    return std::nullopt;
  EventCopy copy;
  copy.user_id = event.user_id;
  copy.sequence = event.sequence;
  copy.sample = event.sample;
  copy.text = text_of(event.text);
  if (event.tokens != nullptr) copy.tokens.assign(event.tokens, event.tokens + event.n_tokens);
  copy.finish = event.kind == SPNL_EV_FINISH;
  if (copy.finish) {
    copy.reason = reason_of(event.finish);
    copy.usage = usage_of(event.usage);
    if (copy.reason == FinishReason::kError)
      copy.error = event.error != nullptr && event.error->struct_size >= kMinError
                       ? failure_text(event.error->code, *event.error)
                       : "the backend gave no reason";
  }
  return copy;
}

RequestWire::RequestWire(const GenerateRequest& request, uint64_t user_id, bool spans)
    : prompt(request.prompt, request.prompt_options, spans) {
  for (const std::string& stop : request.stop) stops.push_back(abi::str(stop));
  for (const auto& [token, bias] : request.logit_biases) logit_biases.push_back({token, bias});
  if (request.dry)
    for (const std::string& text : request.dry->breakers) dry_breakers.push_back(abi::str(text));
  set_sampling(request, *this, sampling);
  wire.struct_size = sizeof wire;
  wire.flags = request.prefill_only ? SPNL_REQ_PREFILL_ONLY : 0u;
  wire.user_id = user_id;
  wire.prompt = prompt.get();
  wire.sampling = &sampling;
  set_span_mode(request.span_mode, wire);
}

Generation::Generation(uint64_t number, GenerateRequest request, GenerateHandlers handlers)
    : id(number),
      request_(std::move(request)),
      handlers_(std::move(handlers)),
      samples_(std::max<uint32_t>(request_.samples, 1)),
      ended_(samples_.size(), false),
      unfinished_(samples_.size()) {
  for (size_t i = 0; i < samples_.size(); ++i) samples_[i].sample = static_cast<uint32_t>(i);
}

bool Generation::apply(EventCopy&& event, std::string& problem) {
  // What comes for no sample of ours, or after its end, is a plugin's mistake that must not reach
  // the handlers.
  if (event.sample >= samples_.size() || ended_[event.sample]) return true;
  Completion& sample = samples_[event.sample];
  sample.sequence = event.sequence;
  sample.text += event.text;
  sample.ids.insert(sample.ids.end(), event.tokens.begin(), event.tokens.end());
  bool ok = true;
  if (handlers_.on_tokens && (!event.text.empty() || !event.tokens.empty())) {
    try {
      handlers_.on_tokens(event.sample, event.text, event.tokens);
    } catch (const std::exception& e) {
      problem = e.what();
      ok = false;
    } catch (...) {
      problem = "unknown exception";
      ok = false;
    }
  }
  if (event.finish) {
    ended_[event.sample] = true;
    --unfinished_;
    sample.finish = event.reason;
    sample.usage = event.usage;
    sample.error = std::move(event.error);
    if (event.reason == FinishReason::kCancelled && !failure_.empty()) {
      sample.finish = FinishReason::kError;
      sample.error = failure_;
    }
  }
  return ok;
}

void Generation::finish_rest(FinishReason reason, const std::string& error) {
  for (size_t i = 0; i < samples_.size(); ++i) {
    if (ended_[i]) continue;
    ended_[i] = true;
    samples_[i].finish = reason;
    samples_[i].error = error;
    samples_[i].usage.output_tokens = samples_[i].ids.size();
  }
  unfinished_ = 0;
}

bool Generation::report(std::string& problem) {
  if (reported_) return true;
  reported_ = true;
  // The handlers may own what owns us: let go of them once they have run.
  GenerateHandlers handlers = std::move(handlers_);
  handlers_ = {};
  if (!handlers.on_finish) return true;
  try {
    handlers.on_finish(std::move(samples_));
    return true;
  } catch (const std::exception& e) {
    problem = e.what();
  } catch (...) {
    problem = "unknown exception";
  }
  return false;
}

}  // namespace spnl::backends
