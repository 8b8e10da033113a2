#include "plugin_requests.h"

#include <algorithm>
#include <numeric>

#include "spnl/backend.hpp"

namespace spnl::mistralrs {
namespace {

bool is_group(const spnl_fragment& fragment) {
  return fragment.kind == SPNL_FRAG_ORDERED || fragment.kind == SPNL_FRAG_INDEPENDENT;
}

/// A message or token fragment begins where the one before it in the prompt ended, which is not
/// always the one before it in the tree; a group goes from its first to its last.
std::vector<FragmentRange> fragment_ranges(const spnl_prompt& prompt,
                                           const std::vector<uint64_t>& ends) {
  std::vector<size_t> leaves;
  for (size_t i = 0; i < ends.size(); ++i)
    if (!is_group(*prompt.fragments[i])) leaves.push_back(i);
  std::stable_sort(leaves.begin(), leaves.end(),
                   [&](size_t a, size_t b) { return ends[a] < ends[b]; });
  std::vector<FragmentRange> ranges(ends.size(), {std::numeric_limits<uint64_t>::max(), 0});
  uint64_t begin = 0;
  for (const size_t i : leaves) {
    ranges[i] = {begin, ends[i]};
    begin = ends[i];
  }
  for (size_t i = ends.size(); i-- > 0;) {
    if (ranges[i].begin > ranges[i].end) ranges[i] = {ends[i], ends[i]};  // of an empty group
    const int32_t parent = prompt.fragments[i]->parent;
    if (parent < 0) continue;
    FragmentRange& all = ranges[static_cast<size_t>(parent)];
    all = {std::min(all.begin, ranges[i].begin), std::max(all.end, ranges[i].end)};
  }
  return ranges;
}

int64_t storable_tokens(const spnl_prompt& prompt, const std::vector<FragmentRange>& ranges) {
  int64_t tokens = std::numeric_limits<int64_t>::max();
  for (size_t i = 0; i < ranges.size(); ++i)
    if ((prompt.fragments[i]->flags & SPNL_FRAG_NO_STORE) != 0)
      tokens = std::min(tokens, static_cast<int64_t>(ranges[i].begin));
  return tokens;
}

/// SPNL_FRAG_NO_STORE is for a fragment and all below it, and a span is kept whole or not at all.
void mark_one_time(const spnl_prompt& prompt, std::vector<modelkit::EncodedSpan>& spans) {
  std::vector<uint8_t> around(prompt.n_fragments), within(prompt.n_fragments);
  const auto parent = [&](size_t i) { return static_cast<size_t>(prompt.fragments[i]->parent); };
  for (size_t i = 0; i < around.size(); ++i) {  // parents come before children
    around[i] = within[i] = (prompt.fragments[i]->flags & SPNL_FRAG_NO_STORE) != 0;
    if (prompt.fragments[i]->parent >= 0) around[i] = around[i] || around[parent(i)];
  }
  for (size_t i = within.size(); i-- > 0;)
    if (prompt.fragments[i]->parent >= 0) within[parent(i)] = within[parent(i)] || within[i];
  for (modelkit::EncodedSpan& span : spans)
    span.no_store = around[span.fragment] != 0 || within[span.fragment] != 0;
}

constexpr uint32_t kDefaultBlendRows = 16;

SpanMode span_mode(int32_t mode, const SpanDefaults& defaults) {
  switch (mode) {
    case SPNL_SPAN_DEFAULT:
      return defaults.mode;
    case SPNL_SPAN_EXACT:
      return SpanMode::kExact;
    case SPNL_SPAN_BLOCK:
      return SpanMode::kBlock;
    case SPNL_SPAN_BLEND:
      return SpanMode::kBlend;
  }
  throw abi::Failure(SPNL_INVALID, "span_mode " + std::to_string(mode) + " does not exist");
}

/// Outputs of earlier sequences are seen as those computed them in any case; with
/// SPNL_CONTEXT_LINEAGE other fragments see the preamble.
SpanContext span_context(int32_t context, const SpanDefaults& defaults) {
  switch (context) {
    case SPNL_CONTEXT_DEFAULT:
      return defaults.context;
    case SPNL_CONTEXT_NONE:
      return SpanContext::kNone;
    case SPNL_CONTEXT_BOS:
      return SpanContext::kBos;
    case SPNL_CONTEXT_PREAMBLE:
    case SPNL_CONTEXT_LINEAGE:
      return SpanContext::kPreamble;
    case SPNL_CONTEXT_PREFIX:
      return SpanContext::kPrefix;
  }
  throw abi::Failure(SPNL_INVALID, "span_context " + std::to_string(context) + " does not exist");
}

bool canonical_order(int32_t order) {
  if (order < SPNL_ORDER_DEFAULT || order > SPNL_ORDER_CANONICAL)
    throw abi::Failure(SPNL_INVALID, "span_order " + std::to_string(order) + " does not exist");
  return order == SPNL_ORDER_CANONICAL;
}

int32_t mode_code(const SpanRequest& spans) {
  if (spans.spans.empty()) return SPNL_SPAN_DEFAULT;
  return spans.mode == SpanMode::kExact   ? SPNL_SPAN_EXACT
         : spans.mode == SpanMode::kBlock ? SPNL_SPAN_BLOCK
                                          : SPNL_SPAN_BLEND;
}

int32_t context_code(const SpanRequest& spans) {
  if (spans.spans.empty() || spans.mode == SpanMode::kExact) return SPNL_CONTEXT_DEFAULT;
  constexpr int32_t kCodes[] = {SPNL_CONTEXT_NONE, SPNL_CONTEXT_BOS, SPNL_CONTEXT_PREAMBLE,
                                SPNL_CONTEXT_PREFIX};
  return kCodes[static_cast<size_t>(spans.context)];
}

void refuse_unsupported(const spnl_request& request) {
  if (request.grammar.len > 0 || request.grammar_kind.len > 0)
    throw abi::Failure(SPNL_UNSUPPORTED, "grammar: mistralrs cannot constrain its output yet");
  if (request.prompt->tools_json.len > 0)
    throw abi::Failure(SPNL_UNSUPPORTED, "tools: mistralrs cannot offer tools to a model yet");
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
  for (const FragmentRange& f : s.request->fragments) {
    tokens.push_back(f.end - f.begin);
    cached.push_back(s.cached.empty() ? 0
                                      : std::accumulate(s.cached.data() + f.begin,
                                                        s.cached.data() + f.end, uint64_t{0}));
  }
  spnl_usage usage{};
  usage.struct_size = sizeof usage;
  usage.n_fragments = static_cast<uint32_t>(tokens.size());
  usage.prompt_tokens = s.request->prompt.size();
  usage.cached_tokens = static_cast<uint64_t>(s.cached_tokens());
  usage.output_tokens = s.output_tokens();
  const Clock::time_point never{};
  if (s.started) usage.queue_ns = ns_between(s.request->submitted, s.first_step);
  if (s.prefill_end != never) usage.prefill_ns = ns_between(s.first_step, s.prefill_end);
  if (s.first_token != never)
    usage.first_token_ns = ns_between(s.request->submitted, s.first_token);
  if (s.first_token != never) usage.decode_ns = ns_between(s.first_token, s.last_token);
  usage.fragment_tokens = tokens.data();
  usage.fragment_cached = cached.data();
  usage.span_mode = mode_code(s.request->spans);
  usage.span_context = context_code(s.request->spans);
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
  SpanRequest& spans = request.spans;
  spans.mode = span_mode(from.span_mode, model.settings().spans);
  spans.context = span_context(from.span_context, model.settings().spans);
  spans.k = from.span_k == 0 ? kDefaultBlendRows : from.span_k;
  modelkit::EncodedPrompt encoded = model.bundle().prompts->encode(
      *from.prompt, {.canonical_order = canonical_order(from.span_order)});
  if (!encoded.spans_hold && spans.mode != SpanMode::kExact) {
    spans.mode = SpanMode::kExact;
    request.note = "spans are evaluated in the mode exact: " + encoded.note;
  }
  spans.spans = std::move(encoded.spans);
  mark_one_time(*from.prompt, spans.spans);
  spans.preamble = encoded.preamble;
  request.fragments = fragment_ranges(*from.prompt, encoded.ends);
  spans.storable_tokens = storable_tokens(*from.prompt, request.fragments);
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
