#include "model.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>

#include "spnl/modelkit/error.h"

namespace spnl::cpu_ref {
namespace {

using modelkit::Error;
using modelkit::ErrorCode;

constexpr uint64_t kChunk = 64;  // tokens of a prompt that go through the matrices together

/// Bytes that can be had without swapping; no limit where the system does not tell.
uint64_t free_memory() {
  uint64_t kilobytes = 0;
  std::FILE* file = std::fopen("/proc/meminfo", "re");
  if (file == nullptr) return UINT64_MAX;
  char line[128];
  bool found = false;
  while (!found && std::fgets(line, sizeof line, file) != nullptr) {
    unsigned long long value = 0;
    found = std::sscanf(line, "MemAvailable: %llu kB", &value) == 1;
    if (found) kilobytes = value;
  }
  std::fclose(file);
  return found ? kilobytes * 1024 : UINT64_MAX;
}

std::string architecture_name(const modelkit::ModelBundle& bundle) {
  if (!bundle.spec.architecture.empty()) return bundle.spec.architecture;
  const auto* file = dynamic_cast<const modelkit::GgufFile*>(bundle.tensors.get());
  if (file == nullptr) return "";
  const modelkit::GgufFile::Value* value = file->find_value("general.architecture");
  const auto* name = value == nullptr ? nullptr : std::get_if<std::string_view>(value);
  return name == nullptr ? "" : std::string(*name);
}

}  // namespace

Model::Model(const ModelSettings& settings)
    : bundle_(modelkit::open_model(settings.file, settings.open)),
      architecture_(architecture_name(bundle_)) {
  if (settings.open.vocab_only) return;
  context_ = bundle_.spec.context;
  if (settings.max_context != 0) context_ = std::min(context_, settings.max_context);
  const uint64_t free = free_memory();
  const uint64_t limit = settings.memory_limit == 0 ? free : std::min(settings.memory_limit, free);
  pool_ = std::make_unique<ThreadPool>(settings.threads);
  weights_ =
      std::make_unique<Weights>(bundle_.spec, limit, settings.allocator, *pool_, settings.progress);
  transformer_ = std::make_unique<Transformer>(bundle_.spec, *weights_, *pool_);
}

uint64_t Model::vocab() const {
  return can_generate() ? bundle_.spec.vocab_size
                        : static_cast<uint64_t>(bundle_.tokenizer->vocab_size());
}

bool Model::pads(int32_t id) const {
  return id >= bundle_.tokenizer->vocab_size() && static_cast<uint64_t>(id) < vocab();
}

std::string Model::piece(int32_t id) const {
  return pads(id) ? "" : bundle_.tokenizer->piece(id, /*spell_special=*/false);
}

void Model::check_ids(const std::vector<int32_t>& ids) const {
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || static_cast<uint64_t>(ids[i]) >= vocab())
      throw Error(ErrorCode::kInvalid, "token " + std::to_string(i) + " has the id " +
                                           std::to_string(ids[i]) + ", but the vocabulary has " +
                                           std::to_string(vocab()) + " entries");
}

ScoreResult Model::score(const std::vector<int32_t>& ids, uint32_t top_k) const {
  if (!can_generate())
    throw Error(ErrorCode::kUnsupported, "the model was loaded with vocab_only: it cannot score");
  if (ids.empty()) throw Error(ErrorCode::kInvalid, "score: no tokens");
  if (ids.size() > context_)
    throw Error(ErrorCode::kInvalid, "score: " + std::to_string(ids.size()) +
                                         " tokens do not fit the context of " +
                                         std::to_string(context_));
  if (top_k > vocab())
    throw Error(ErrorCode::kInvalid, "score: top_k is " + std::to_string(top_k) +
                                         ", the vocabulary has " + std::to_string(vocab()));
  check_ids(ids);

  ScoreResult result;
  result.logprobs.assign(1, std::numeric_limits<float>::quiet_NaN());
  const uint64_t hidden_size = spec().hidden_size;
  std::vector<float> logits(vocab());
  KvCache cache;
  for (uint64_t first = 0; first < ids.size(); first += kChunk) {
    const uint64_t n = std::min(kChunk, ids.size() - first);
    const std::vector<float> hidden =
        transformer_->forward(std::span(ids).subspan(first, n), cache, ids.size());
    for (uint64_t i = 0; i < n; ++i) {
      transformer_->logits(std::span(hidden).subspan(i * hidden_size, hidden_size), logits);
      result.log_sum_exp = log_sum_exp(logits);
      if (first + i + 1 < ids.size())
        result.logprobs.push_back(static_cast<float>(
            logits[static_cast<size_t>(ids[first + i + 1])] - result.log_sum_exp));
    }
  }
  result.top_ids = top_ids(logits, top_k);
  for (const int32_t id : result.top_ids)
    result.top_logits.push_back(logits[static_cast<size_t>(id)]);
  return result;
}

double log_sum_exp(std::span<const float> logits) {
  const float top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - top);
  return top + std::log(sum);
}

std::vector<int32_t> top_ids(std::span<const float> logits, uint32_t k) {
  // NaN sorts last, so that the order is one.
  const auto value = [&](int32_t id) {
    const float logit = logits[static_cast<size_t>(id)];
    return std::isnan(logit) ? -std::numeric_limits<float>::infinity() : logit;
  };
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const size_t n = std::min<size_t>(k, ids.size());
  std::partial_sort(
      ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(n), ids.end(),
      [&](int32_t a, int32_t b) { return value(a) != value(b) ? value(a) > value(b) : a < b; });
  ids.resize(n);
  return ids;
}

}  // namespace spnl::cpu_ref
