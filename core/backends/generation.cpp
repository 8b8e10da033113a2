#include "backends/generation.h"

#include <algorithm>
#include <charconv>
#include <span>

#include "backends/abi_check.h"
#include "hub/printable.h"
#include "spnl/backend.hpp"
#include "spnl/error.h"
#include "spnl/query.h"

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

/// Names of the ABI's enumerations; index 0 is the backend's default.
constexpr std::string_view kModes[] = {"", "exact", "block", "blend"};
constexpr std::string_view kContexts[] = {"", "none", "bos", "preamble", "prefix", "lineage"};
constexpr std::string_view kOrders[] = {"", "given", "canonical"};

std::string name_of(std::span<const std::string_view> names, int32_t value) {
  const bool known = value > 0 && static_cast<size_t>(value) < names.size();
  return known ? std::string(names[static_cast<size_t>(value)]) : "";
}

int32_t value_of(std::span<const std::string_view> names, std::string_view name, const char* what,
                 const char* hint) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
    throw Error(ErrorCode::kBadQuery,
                "no span " + std::string(what) + " '" + hub::printable(name, 80) + "'", "", hint);
  return static_cast<int32_t>(found - names.begin());
}

Usage usage_of(const spnl_usage* usage) {
  if (usage == nullptr || usage->struct_size < kMinUsage) return {};
  Usage copy;
  copy.prompt_tokens = usage->prompt_tokens;
  copy.cached_tokens = usage->cached_tokens;
  copy.output_tokens = usage->output_tokens;
  copy.queue_ns = usage->queue_ns;
  copy.prefill_ns = usage->prefill_ns;
  copy.first_token_ns = usage->first_token_ns;
  copy.decode_ns = usage->decode_ns;
  if (SPNL_HAS(spnl_usage, usage, span_context)) {
    copy.span_mode = name_of(kModes, usage->span_mode);
    copy.span_context = name_of(kContexts, usage->span_context);
  }
  return copy;
}

std::vector<uint64_t> counts_of(const spnl_usage* usage, const uint64_t* spnl_usage::*counts) {
  if (usage == nullptr || usage->struct_size < kMinUsage || usage->*counts == nullptr) return {};
  return {usage->*counts, usage->*counts + usage->n_fragments};
}

void set_span_mode(const std::string& mode, spnl_request& wire) {
  constexpr std::string_view kBlend = "blend:";
  if (mode.empty()) return;
  std::string_view name = mode;
  if (is_span_mode(mode) && mode.starts_with(kBlend)) {
    std::from_chars(mode.data() + kBlend.size(), mode.data() + mode.size(), wire.span_k);
    name = name.substr(0, kBlend.size() - 1);
    if (wire.span_k == 0) name = "block";  // which it is; on the wire 0 means the default
  }
  wire.span_mode = value_of(kModes, name, "mode", "use exact, block, blend or blend:K");
}

void set_spans(const GenerateRequest& request, spnl_request& wire) {
  set_span_mode(request.span_mode, wire);
  wire.span_context = value_of(kContexts, request.span_context, "context",
                               "use none, bos, preamble, prefix or lineage");
  wire.span_order = value_of(kOrders, request.span_order, "order", "use given or canonical");
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
    copy.fragment_tokens = counts_of(event.usage, &spnl_usage::fragment_tokens);
    copy.fragment_cached = counts_of(event.usage, &spnl_usage::fragment_cached);
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
  if (spans) set_spans(request, wire);
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
    sample.usage = std::move(event.usage);
    sample.usage.fragments =
        fragment_usage(request_.prompt, event.fragment_tokens, event.fragment_cached);
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
