#include "request.h"

#include <algorithm>

#include "spnl/backend.hpp"
#include "spnl/modelkit/prompt.h"

namespace spnl::cpu_ref {
namespace {

using abi::Failure;

constexpr uint32_t kMaxSamples = 1024;

void refuse_what_is_missing(const spnl_request& request) {
  const auto unsupported = [](const std::string& word) {
    throw Failure(SPNL_UNSUPPORTED, "cpu_ref has no " + word);
  };
  if (request.grammar_kind.len != 0 || request.grammar.len != 0) unsupported("grammar");
  if (request.prompt->tools_json.len != 0) unsupported("tools");
  if (request.span_mode == SPNL_SPAN_BLOCK) unsupported("span mode 'block'");
  if (request.span_mode == SPNL_SPAN_BLEND) unsupported("span mode 'blend'");
  if (request.span_order == SPNL_ORDER_CANONICAL) unsupported("span order 'canonical'");
  if (request.span_mode < 0 || request.span_mode > SPNL_SPAN_BLEND || request.span_context < 0 ||
      request.span_context > SPNL_CONTEXT_LINEAGE || request.span_order < 0 ||
      request.span_order > SPNL_ORDER_CANONICAL)
    throw Failure(SPNL_INVALID, "request: unknown span setting");
}

void read_sampling(const spnl_sampling& given, const Model& model, Request& request) {
  const auto read = [&](uint64_t bit, auto& to, auto value) {
    if (abi::has(&given, bit)) to = value;
  };
  modelkit::SamplingParams& to = request.sampling;
  read(SPNL_SET_TEMPERATURE, to.temperature, given.temperature);
  read(SPNL_SET_TOP_P, to.top_p, given.top_p);
  read(SPNL_SET_MIN_P, to.min_p, given.min_p);
  read(SPNL_SET_REPEAT_PENALTY, to.repeat_penalty, given.repeat_penalty);
  read(SPNL_SET_PRESENCE_PENALTY, to.presence_penalty, given.presence_penalty);
  read(SPNL_SET_FREQUENCY_PENALTY, to.frequency_penalty, given.frequency_penalty);
  read(SPNL_SET_TOP_K, to.top_k, given.top_k);
  read(SPNL_SET_SEED, to.seed, given.seed);
  read(SPNL_SET_MAX_TOKENS, request.max_tokens, given.max_tokens);
  read(SPNL_SET_TOP_LOGPROBS, request.wants_logprobs, true);
  read(SPNL_SET_TOP_LOGPROBS, request.top_logprobs, given.top_logprobs);
  if (request.top_logprobs > model.vocab())
    throw Failure(SPNL_INVALID, "top_logprobs is larger than the vocabulary");
  request.samples = std::max(1u, given.samples);
  if (request.samples > kMaxSamples)
    throw Failure(SPNL_INVALID, std::to_string(request.samples) + " samples; at most " +
                                    std::to_string(kMaxSamples) + " in one request");
  if (!abi::has(&given, SPNL_SET_STOPS)) return;
  if (given.n_stops > 0 && given.stops == nullptr) throw Failure(SPNL_INVALID, "stops is NULL");
  for (uint32_t i = 0; i < given.n_stops; ++i)
    request.stops.emplace_back(abi::view(given.stops[i]));
}

/// Fragments stand in pre-order: a first child begins where its parent does, any other fragment
/// where the one before ended.
std::vector<uint64_t> tokens_of_fragments(const spnl_prompt& prompt,
                                          const std::vector<uint64_t>& ends) {
  std::vector<uint64_t> starts(prompt.n_fragments), tokens(prompt.n_fragments);
  for (size_t i = 0; i < tokens.size() && i < ends.size(); ++i) {
    if (i > 0)
      starts[i] =
          prompt.fragments[i]->parent == static_cast<int32_t>(i) - 1 ? starts[i - 1] : ends[i - 1];
    tokens[i] = ends[i] - std::min(starts[i], ends[i]);
  }
  return tokens;
}

}  // namespace

Request read_request(const spnl_request& given, const Model& model) {
  const spnl_prompt& prompt = abi::require(given.prompt, "prompt");
  refuse_what_is_missing(given);
  Request request;
  request.user_id = given.user_id;
  request.prefill_only = (given.flags & SPNL_REQ_PREFILL_ONLY) != 0;
  if (given.sampling != nullptr)
    read_sampling(abi::require(given.sampling, "sampling"), model, request);
  modelkit::Sampler{request.sampling};  // refuses bad numbers now, not in a later step

  modelkit::validate_prompt(prompt);
  modelkit::EncodedPrompt encoded = model.bundle().prompts->encode(prompt);
  request.prompt = std::move(encoded.ids);
  request.fragment_tokens = tokens_of_fragments(prompt, encoded.ends);
  if (request.prompt.empty()) throw Failure(SPNL_INVALID, "the prompt has no tokens");
  if (request.prompt.size() > model.context())
    throw Failure(SPNL_INVALID, "the prompt has " + std::to_string(request.prompt.size()) +
                                    " tokens, more than the context of " +
                                    std::to_string(model.context()) + "; shorten it");
  model.check_ids(request.prompt);
  return request;
}

}  // namespace spnl::cpu_ref
