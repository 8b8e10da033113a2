#pragma once
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "backends/model_strand.h"
#include "backends/session.h"
#include "spnl/backend.h"
#include "spnl/backends.h"

namespace spnl::backends {

/// What a plugin gave for a model; the table and extensions live as long as the process.
struct PluginModel {
  const spnl_backend* table = nullptr;
  const spnl_score_v1* score = nullptr;  ///< null: the plugin has no such extension
  spnl_model* model = nullptr;
  uint64_t caps = 0;
  std::string name;
  ModelInfo info;
};

/// A model in a plugin, with its strand and session. Shared between its handle and the jobs under
/// way; once closed it only says so. Any thread.
class LoadedModel : public std::enable_shared_from_this<LoadedModel> {
 public:
  /// `runtime` owns the pool (and what else must outlive the strand).
  LoadedModel(PluginModel parts, boost::asio::thread_pool& pool, std::shared_ptr<void> runtime,
              Session::Log log);

  const ModelInfo& info() const noexcept { return parts_.info; }
  const std::string& name() const noexcept { return parts_.name; }
  std::vector<int32_t> tokenize(const Prompt& prompt, const PromptOptions& options);
  std::string detokenize(const std::vector<int32_t>& ids);
  std::string render(const Prompt& prompt, const PromptOptions& options);
  ModelStats stats();
  Score score(const std::vector<int32_t>& ids, uint32_t top_k);
  uint64_t generate(GenerateRequest request, GenerateHandlers handlers) {
    return session_->generate(std::move(request), std::move(handlers));
  }
  void cancel(uint64_t generation) { session_->cancel(generation); }

  /// One more handle. False: it is closing, and has none any more.
  bool hold();
  /// One handle fewer. False: it was the last and there is work, so the model must be closed. Else
  /// what its handlers were told is told, and the model can be handed out again.
  bool let_go();
  std::chrono::steady_clock::time_point last_used() const noexcept { return last_used_; }
  /// Weights, cache and scratch as the plugin counts them; 0 once closed.
  uint64_t memory_bytes();

  /// Asks for the end: generations finish as cancelled, then the plugin unloads. Returns at once;
  /// idempotent.
  void close();
  bool closing() const noexcept { return closing_; }
  void wait_closed() { closed_.wait(); }
  bool closed() const {
    return closed_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }

 private:
  template <class Call>
  void call_any(Call call);
  Score score_here(const std::vector<int32_t>& ids, uint32_t top_k);
  bool spans() const noexcept { return (parts_.caps & SPNL_CAP_SPANS) != 0; }

  const std::shared_ptr<void> runtime_;  ///< first: destroyed after the strand
  PluginModel parts_;
  ModelStrand strand_;
  std::shared_ptr<Session> session_;
  std::shared_mutex
      in_use_;  ///< shared by calls of tag [any], alone by unloading; guards parts_.model
  std::atomic<std::chrono::steady_clock::time_point> last_used_{std::chrono::steady_clock::now()};
  std::mutex handles_mutex_;  ///< guards handles_, and that closing begins with none
  size_t handles_ = 0;
  std::atomic<bool> closing_ = false;
  std::promise<void> closed_promise_;
  std::shared_future<void> closed_;
};

/// What callers hold. When the last one lets go while generations run, the model is closed; waits
/// for that unless it is a thread of ours (a handler's), where it ends soon after.
class ModelHandle : public Model {
 public:
  /// The model holds one handle more for it.
  explicit ModelHandle(std::shared_ptr<LoadedModel> model) : model_(std::move(model)) {}
  ~ModelHandle() override;
  ModelHandle(const ModelHandle&) = delete;
  ModelHandle& operator=(const ModelHandle&) = delete;

  const ModelInfo& info() const override { return model_->info(); }
  std::vector<int32_t> tokenize(const Prompt& prompt, const PromptOptions& options) override {
    return model_->tokenize(prompt, options);
  }
  std::string detokenize(const std::vector<int32_t>& ids) override {
    return model_->detokenize(ids);
  }
  std::string render(const Prompt& prompt, const PromptOptions& options) override {
    return model_->render(prompt, options);
  }
  uint64_t generate(GenerateRequest request, GenerateHandlers handlers) override {
    return model_->generate(std::move(request), std::move(handlers));
  }
  void cancel(uint64_t generation) override { model_->cancel(generation); }
  Score score(const std::vector<int32_t>& ids, uint32_t top_k) override {
    return model_->score(ids, top_k);
  }
  ModelStats stats() override { return model_->stats(); }

 private:
  std::shared_ptr<LoadedModel> model_;
};

}  // namespace spnl::backends
