#pragma once
#include <map>
#include <string>
#include <vector>

#include "spnl/evaluator.h"
#include "terminal.h"
#include "times.h"

namespace spnl::host {

/// Shows what a running query does: tokens as the result itself, or a line of progress per
/// generation.
class RunObserver : public Observer {
 public:
  RunObserver(Terminal& terminal, bool stream) : terminal_(terminal), stream_(stream) {}

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
  const bool stream_;
  std::string streamed_;
  std::vector<NodeTimes> times_;
  size_t started_ = 0, finished_ = 0, tokens_ = 0;
};

}  // namespace spnl::host
