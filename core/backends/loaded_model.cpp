#include "backends/loaded_model.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "backends/abi_check.h"
#include "backends/outcome.h"
#include "backends/prompt_wire.h"
#include "hub/printable.h"
#include "spnl/backend.hpp"
#include "spnl/error.h"

namespace spnl::backends {

namespace {

[[noreturn]] void fail_closed(const std::string& name) {
  throw Error(ErrorCode::kEvaluation, "the model was closed", name);
}

void check(spnl_status status, const spnl_error& error, const std::string& name) {
  if (status == SPNL_OK) return;
  throw Error(status == SPNL_UNSUPPORTED ? ErrorCode::kUnsupported : ErrorCode::kEvaluation,
              failure_text(status, error), name);
}

}  // namespace

LoadedModel::LoadedModel(PluginModel parts, boost::asio::thread_pool& pool,
                         std::shared_ptr<void> runtime, Session::Log log)
    : runtime_(std::move(runtime)),
      parts_(std::move(parts)),
      strand_(pool),
      session_(
          std::make_shared<Session>(*parts_.table, parts_.model, spans(), strand_, std::move(log))),
      closed_(closed_promise_.get_future().share()) {}

/// A call of tag [any]: beside others, but not beside unloading.
template <class Call>
void LoadedModel::call_any(Call call) {
  const std::shared_lock lock(in_use_);
  if (parts_.model == nullptr) fail_closed(parts_.name);
  spnl_error error = empty_error();
  const spnl_status status = call(*parts_.table, parts_.model, &error);
  check(status, error, parts_.name);
}

std::vector<int32_t> LoadedModel::tokenize(const Prompt& prompt, const PromptOptions& options) {
  const PromptWire wire(prompt, options, spans());
  std::string bytes;
  const spnl_sink sink = abi::string_sink(bytes);
  call_any([&](const spnl_backend& table, spnl_model* model, spnl_error* error) {
    return table.tokenize(model, wire.get(), &sink, nullptr, error);
  });
  std::vector<int32_t> ids(bytes.size() / sizeof(int32_t));
  if (!ids.empty()) std::memcpy(ids.data(), bytes.data(), ids.size() * sizeof(int32_t));
  return ids;
}

std::string LoadedModel::detokenize(const std::vector<int32_t>& ids) {
  std::string text;
  const spnl_sink sink = abi::string_sink(text);
  call_any([&](const spnl_backend& table, spnl_model* model, spnl_error* error) {
    return table.detokenize(model, ids.data(), ids.size(), &sink, error);
  });
  return text;
}

std::string LoadedModel::render(const Prompt& prompt, const PromptOptions& options) {
  const PromptWire wire(prompt, options, spans());
  std::string text;
  const spnl_sink sink = abi::string_sink(text);
  call_any([&](const spnl_backend& table, spnl_model* model, spnl_error* error) {
    return table.render(model, wire.get(), &sink, error);
  });
  return text;
}

ModelStats LoadedModel::stats() {
  spnl_stats stats{};
  stats.struct_size = sizeof stats;
  call_any([&](const spnl_backend& table, spnl_model* model, spnl_error* error) {
    return table.stats(model, &stats, error);
  });
  return {stats.running,       stats.waiting,     stats.prefill_tokens,     stats.decode_tokens,
          stats.prefill_ns,    stats.decode_ns,   stats.cache_asked_tokens, stats.cache_hit_tokens,
          stats.bytes_weights, stats.bytes_cache, stats.bytes_cache_limit,  stats.bytes_scratch};
}

Score LoadedModel::score_here(const std::vector<int32_t>& ids, uint32_t top_k) {
  if (parts_.model == nullptr) fail_closed(parts_.name);
  if (parts_.info.vocab > 0)
    top_k = static_cast<uint32_t>(std::min<uint64_t>(top_k, parts_.info.vocab));
  Score out;
  out.logprobs.resize(ids.size());
  out.top_ids.resize(top_k);
  out.top_logits.resize(top_k);
  spnl_error error = empty_error();
  const spnl_status status =
      parts_.score->score(parts_.model, ids.data(), ids.size(), top_k, out.logprobs.data(),
                          out.top_ids.data(), out.top_logits.data(), &out.log_sum_exp, &error);
  check(status, error, parts_.name);
  return out;
}

Score LoadedModel::score(const std::vector<int32_t>& ids, uint32_t top_k) {
  if (parts_.score == nullptr)
    throw Error(ErrorCode::kUnsupported, "the backend has no " SPNL_EXT_SCORE " extension",
                parts_.name);
  if (ids.empty()) throw Error(ErrorCode::kEvaluation, "no tokens to score", parts_.name);
  // From a handler of this model: the strand is ours already, and waiting for it would never end.
  if (strand_.running_here()) return score_here(ids, top_k);
  auto result = std::make_shared<std::promise<Outcome<Score>>>();
  std::future<Outcome<Score>> future = result->get_future();
  const bool posted = strand_.post([self = shared_from_this(), result, ids, top_k] {
    result->set_value(Outcome<Score>::of([&] { return self->score_here(ids, top_k); }));
  });
  if (!posted) fail_closed(parts_.name);
  return future.get().take();
}

bool LoadedModel::hold() {
  const std::lock_guard lock(handles_mutex_);
  if (closing_) return false;
  ++handles_;
  return true;
}

bool LoadedModel::let_go() {
  last_used_ = std::chrono::steady_clock::now();
  {
    // The next handle may be there before this one is quite gone, and the work be its.
    const std::lock_guard lock(handles_mutex_);
    if (--handles_ > 0) return true;
    if (!closing_ && !session_->idle()) closing_ = true;
    if (closing_) return false;
  }
  if (thread_kind() != ThreadKind::kOutside) return true;
  auto drained = std::make_shared<std::promise<void>>();
  if (!strand_.post([drained] { drained->set_value(); })) return false;
  drained->get_future().wait();
  return true;
}

uint64_t LoadedModel::memory_bytes() {
  if (closing_) return 0;
  try {
    const ModelStats all = stats();
    return all.bytes_weights + std::max(all.bytes_cache, all.bytes_cache_limit) + all.bytes_scratch;
  } catch (const Error&) {
    return 0;  // closed meanwhile, or a plugin that does not count
  }
}

void LoadedModel::close() {
  closing_ = true;
  strand_.close([self = shared_from_this()] {
    self->session_->close();
    {
      const std::unique_lock lock(self->in_use_);
      self->parts_.table->model_unload(std::exchange(self->parts_.model, nullptr));
    }
    self->closed_promise_.set_value();
  });
}

ModelHandle::~ModelHandle() {
  if (model_->let_go()) return;
  model_->close();
  if (thread_kind() == ThreadKind::kOutside) model_->wait_closed();
}

}  // namespace spnl::backends
