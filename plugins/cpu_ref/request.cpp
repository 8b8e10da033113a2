#include "request.h"

#include <algorithm>

#include "spnl/backend.hpp"
#include "spnl/modelkit/prompt.h"

namespace spnl::cpu_ref {
namespace {

using abi::Failure;

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
  request.sampling =
      modelkit::read_sampling(given.sampling, *model.bundle().tokenizer, model.bundle().eos);

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
