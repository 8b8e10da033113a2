#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "live_view.h"
#include "spnl/error.h"
#include "spnl/evaluator.h"
#include "terminal.h"
#include "times.h"

namespace spnl::host {

/// Shows what a running query does: the tokens of one node as the result itself, and a live view of
/// the others where there are any.
class RunObserver : public Observer {
 public:
  struct Shown {
    std::optional<std::string> streaming_node;  ///< whose tokens are the result; none: not streamed
    bool live_view = true;
  };
  RunObserver(Terminal& terminal, Shown shown) : terminal_(terminal), shown_(std::move(shown)) {
    if (shown_.live_view) view_.emplace(terminal);
  }

  void on_generate_start(const std::string& node, const std::string& model,
                         uint32_t samples) override;
  void on_text(const std::string& node, uint32_t sample, std::string_view text,
               size_t new_tokens) override;
  void on_generate_finish(const std::string& node, const std::string& model,
                          const std::vector<Completion>& done) override;
  void on_print(const std::string& text) override { terminal_.line(text); }
  void on_note(const std::string& text) override { terminal_.note(text); }
  void on_failure(const std::string& node, const Error& error) override;

  // For the thread of evaluate(), after it returned or threw.

  /// Takes the live view away.
  void settle() { view_.reset(); }
  /// What on_text has shown so far.
  const std::string& streamed() const { return streamed_; }
  const std::vector<NodeTimes>& times() const { return times_; }
  struct Failure {
    std::string node;
    Error error;
  };
  /// Of a run that goes on after failures.
  const std::vector<Failure>& failures() const { return failures_; }

 private:
  Terminal& terminal_;
  const Shown shown_;
  std::optional<LiveView> view_;
  std::string streamed_;
  std::vector<NodeTimes> times_;
  std::vector<Failure> failures_;
};

}  // namespace spnl::host
