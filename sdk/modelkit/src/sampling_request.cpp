#include "spnl/modelkit/sampling_request.h"

#include <algorithm>

#include "spnl/backend.hpp"

namespace spnl::modelkit {
namespace {

using abi::Failure;

constexpr uint32_t kMaxSamples = 1024;
constexpr uint64_t kKnownFields = (SPNL_SET_DRY << 1) - 1;

std::vector<std::string> read_strings(const spnl_str* strings, uint32_t n, const char* name) {
  if (n > 0 && strings == nullptr)
    throw Failure(SPNL_INVALID, "sampling." + std::string(name) + " is NULL");
  std::vector<std::string> out;
  for (uint32_t i = 0; i < n; ++i) {
    if (strings[i].len > 0 && strings[i].data == nullptr)
      throw Failure(SPNL_INVALID, "sampling." + std::string(name) + ": a length but no text");
    out.emplace_back(abi::view(strings[i]));
  }
  return out;
}

/// The tokens whose text contains one of the breakers.
std::shared_ptr<const std::vector<bool>> find_breakers(const std::vector<std::string>& breakers,
                                                       const Tokenizer& tokenizer) {
  auto found = std::make_shared<std::vector<bool>>(static_cast<size_t>(tokenizer.vocab_size()));
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string piece = tokenizer.piece(id, /*spell_special=*/true);
    (*found)[static_cast<size_t>(id)] =
        std::any_of(breakers.begin(), breakers.end(), [&](const std::string& breaker) {
          return !breaker.empty() && piece.find(breaker) != piece.npos;
        });
  }
  return found;
}

void read_dry(const spnl_sampling& given, const Tokenizer& tokenizer, DryParams& dry) {
  dry.multiplier = given.dry_multiplier;
  dry.base = given.dry_base;
  dry.allowed_length = given.dry_allowed_length;
  dry.window = given.dry_window;
  const auto breakers = read_strings(given.dry_breakers, given.n_dry_breakers, "dry_breakers");
  if (dry.multiplier > 0 && !breakers.empty()) dry.breakers = find_breakers(breakers, tokenizer);
}

void read_logit_biases(const spnl_sampling& given, const Tokenizer& tokenizer,
                       SamplingParams& params) {
  if (given.n_logit_biases > 0 && given.logit_biases == nullptr)
    throw Failure(SPNL_INVALID, "sampling.logit_biases is NULL");
  for (uint32_t i = 0; i < given.n_logit_biases; ++i) {
    const auto [token, bias] = given.logit_biases[i];
    if (token < 0 || token >= tokenizer.vocab_size())
      throw Failure(SPNL_INVALID, "logit bias: the vocabulary has no token " +
                                      std::to_string(token) + "; ids end at " +
                                      std::to_string(tokenizer.vocab_size() - 1));
    params.logit_biases.emplace_back(token, bias);
  }
}

}  // namespace

SamplingRequest read_sampling(const spnl_sampling* given, const Tokenizer& tokenizer,
                              const std::vector<int32_t>& end_ids) {
  SamplingRequest request;
  if (given == nullptr) return request;
  const spnl_sampling& from = abi::require(given, "sampling");
  abi::refuse_unknown_fields(from, kKnownFields);
  const auto read = [&](uint64_t bit, auto& to, auto value) {
    if (abi::has(&from, bit)) to = value;
  };
  SamplingParams& to = request.params;
  read(SPNL_SET_TEMPERATURE, to.temperature, from.temperature);
  read(SPNL_SET_TOP_P, to.top_p, from.top_p);
  read(SPNL_SET_MIN_P, to.min_p, from.min_p);
  read(SPNL_SET_REPEAT_PENALTY, to.repeat_penalty, from.repeat_penalty);
  read(SPNL_SET_PRESENCE_PENALTY, to.presence_penalty, from.presence_penalty);
  read(SPNL_SET_FREQUENCY_PENALTY, to.frequency_penalty, from.frequency_penalty);
  read(SPNL_SET_TOP_K, to.top_k, from.top_k);
  read(SPNL_SET_SEED, to.seed, from.seed);
  read(SPNL_SET_MAX_TOKENS, request.max_tokens, from.max_tokens);
  read(SPNL_SET_TOP_LOGPROBS, request.want_logprobs, true);
  read(SPNL_SET_TOP_LOGPROBS, request.top_logprobs, from.top_logprobs);
  if (abi::has(&from, SPNL_SET_STOPS))
    request.stops = read_strings(from.stops, from.n_stops, "stops");
  // Fields of minor 1 are there when their bits are: refuse_unknown_fields saw to it.
  if (abi::has(&from, SPNL_SET_TYPICAL_P)) to.typical_p = from.typical_p;
  if (abi::has(&from, SPNL_SET_PENALTY_WINDOW)) to.penalty_window = from.penalty_window;
  if (abi::has(&from, SPNL_SET_MIN_TOKENS)) {
    to.min_tokens = from.min_tokens;
    to.end_ids = end_ids;
  }
  if (abi::has(&from, SPNL_SET_LOGIT_BIASES)) read_logit_biases(from, tokenizer, to);
  if (abi::has(&from, SPNL_SET_DRY)) read_dry(from, tokenizer, to.dry);
  request.samples = std::max(1u, from.samples);
  if (request.samples > kMaxSamples)
    throw Failure(SPNL_INVALID, std::to_string(request.samples) + " samples; at most " +
                                    std::to_string(kMaxSamples) + " in one request");
  if (request.top_logprobs > static_cast<uint32_t>(tokenizer.vocab_size()))
    throw Failure(SPNL_INVALID, "top_logprobs is larger than the vocabulary");
  Sampler{to};  // refuses bad numbers now, not in a later step
  return request;
}

}  // namespace spnl::modelkit
