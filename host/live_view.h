#pragma once
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "terminal.h"

namespace spnl::host {

/// Shows on a terminal what several generations do: a line in all, and one for each that runs, with
/// the end of what it has written. Redrawn ten times a second by a thread of its own; the lines go
/// away with stop() or the object. Does nothing where the terminal shows no status. Every method
/// may be called from any thread.
class LiveView {
 public:
  explicit LiveView(Terminal& terminal);
  ~LiveView() { stop(); }

  void started(const std::string& node, const std::string& model, uint32_t samples);
  void wrote(const std::string& node, uint32_t sample, std::string_view text, size_t tokens);
  void finished(const std::string& node, bool failed);
  void stop();

 private:
  using Clock = std::chrono::steady_clock;
  enum class State { kReading, kWriting, kDone, kFailed };
  struct Row {
    std::string node, model;
    uint32_t samples = 1, shown_sample = 0;
    State state = State::kReading;
    size_t tokens = 0;
    std::string tail;  ///< of what the shown sample wrote
    Clock::time_point begin, first, last;
  };

  void draw_until_stopped(std::stop_token stop);
  std::vector<std::string> lines(Terminal::Size room) const;
  std::vector<const Row*> chosen_rows(size_t most) const;
  Row* find(const std::string& node);

  Terminal& terminal_;
  std::mutex mutex_;  ///< of rows_
  std::vector<Row> rows_;
  Clock::time_point begin_ = Clock::now();
  std::condition_variable_any wake_;
  std::jthread thread_;  ///< last: it uses what stands above and is joined first
};

/// The part of a model's name that tells it from others: "model.gguf" of a path.
std::string short_model_name(const std::string& model);

}  // namespace spnl::host
