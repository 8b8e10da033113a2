#pragma once
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "run_observer.h"
#include "spnl/backends.h"
#include "spnl/evaluator.h"
#include "terminal.h"
#include "times.h"

namespace spnl::host {

/// A conversation with one model. Each answer is the evaluation of a generate over all messages, so
/// a backend finds what it has computed before in its cache. One thread.
class ChatSession {
 public:
  struct Options {
    EvaluateOptions evaluate;  ///< default_model is the session's model
    bool json = false;         ///< answers as JSON, a line each
    bool times = false;        ///< a table of times after each answer
  };
  enum class Outcome { kAnswered, kStopped };

  /// Loads the model and holds it. Throws what loading throws.
  ChatSession(Backends& backends, Terminal& terminal, Options options, std::stop_token stop);

  /// Asks and shows the answer. A stop keeps what was written till then. Throws Error; then, and
  /// when nothing was written, the conversation is as it was.
  Outcome answer(std::string text, std::stop_token stop);

  const std::string& system() const { return system_; }
  void set_system(std::string text) { system_ = std::move(text); }
  size_t messages() const { return messages_.size(); }
  void clear() { messages_.clear(); }

  /// The generate that the next answer would be, without a next question.
  Query query() const;
  /// Takes over system text and messages of such a query. Throws Error(kUsage) for any other.
  void load(const Query& query);

  const std::vector<NodeTimes>& times() const { return times_; }
  ModelStats stats() const { return model_->stats(); }
  const ModelInfo& model_info() const { return model_->info(); }
  const std::string& model_name() const { return options_.evaluate.default_model; }

 private:
  void show(const Query& result, const RunObserver& observer);
  void show_json(const NodeTimes& answer);

  Backends& backends_;
  Terminal& terminal_;
  const Options options_;
  std::shared_ptr<Model> model_;
  std::string system_;
  QueryList messages_;
  std::vector<NodeTimes> times_;  ///< one entry an answer
};

}  // namespace spnl::host
