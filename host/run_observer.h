#pragma once
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "spnl/evaluator.h"
#include "terminal.h"
#include "times.h"

namespace spnl::host {

/// Shows what a running query does: tokens as the result itself, or a line of progress per
/// generation.
class RunObserver : public Observer {
 public:
  /// `streaming_node`: the node whose tokens are the result; none: only progress is shown.
  RunObserver(Terminal& terminal, std::optional<std::string> streaming_node)
      : terminal_(terminal), streaming_node_(std::move(streaming_node)) {}

  void on_generate_start(const std::string& node, const std::string& model,
                         uint32_t samples) override;
  void on_text(const std::string& node, uint32_t sample, std::string_view text,
               size_t new_tokens) override;
  void on_generate_finish(const std::string& node, const std::string& model,
                          const std::vector<Completion>& done) override;
  void on_print(const std::string& text) override { terminal_.line(text); }
  void on_note(const std::string& text) override { terminal_.note(text); }

  /// What on_text has shown so far. For the thread of evaluate(), after it returned or threw.
  const std::string& streamed() const { return streamed_; }
  const std::vector<NodeTimes>& times() const { return times_; }

 private:
  void show_progress();

  Terminal& terminal_;
  const std::optional<std::string> streaming_node_;
  std::string streamed_;
  std::vector<NodeTimes> times_;
  size_t started_ = 0, finished_ = 0, tokens_ = 0;
};

}  // namespace spnl::host
