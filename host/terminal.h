#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "spnl/backends.h"
#include "spnl/error.h"

namespace spnl::host {

enum class ColorMode { kAuto, kAlways, kNever };

/// The only place that writes to standard output and standard error. Results go to the one,
/// everything else to the other. Every method may be called from any thread. Writing never throws:
/// the first failure of standard output is kept, what comes after it is dropped, and
/// `on_output_failure` is called once, so that work nobody reads can stop.
class Terminal {
 public:
  Terminal();

  void set_color(ColorMode mode);
  void set_quiet(bool quiet) { quiet_ = quiet; }
  void set_verbose(bool verbose) { verbose_ = verbose; }
  void set_output_failure_handler(std::function<void()> handler);

  bool quiet() const { return quiet_; }
  bool verbose() const { return verbose_; }
  bool output_is_terminal() const { return output_is_terminal_; }
  bool errors_are_terminal() const { return errors_are_terminal_; }

  /// Bytes of a result, as they are.
  void result(std::string_view bytes);
  /// Text that a model wrote, maybe in pieces: green where colour is on, and harmless to a
  /// terminal.
  void generated(std::string_view text);
  /// Ends the colour of generated() and the line.
  void end_generated();

  void error(const Error& error);
  void warning(std::string_view text);
  void note(std::string_view text);  ///< not with --quiet
  void line(std::string_view
                text);  ///< to standard error as it is, with a newline: tables, printed texts
  void log(LogLevel level, std::string_view component, std::string_view text);
  void progress(std::string_view stage, uint64_t done,
                uint64_t total);  ///< one line, on a terminal only

  /// Asks the person a question on standard error and reads one line; nothing without a terminal or
  /// at the end of the input. Throws Error(kInterrupted) when `stop` is requested.
  std::optional<std::string> ask(std::string_view question, std::stop_token stop);

  /// How many notes or worse have come through log() so far.
  unsigned logged_notes() const { return logged_notes_; }

  int output_error() const;  ///< errno of the first failed write to standard output; 0: none

 private:
  void write_output(std::string_view bytes);
  void write_errors(std::string_view text);
  void message(std::string_view kind, std::string_view text);

  mutable std::mutex mutex_;
  std::function<void()> on_failure_;
  bool output_is_terminal_, errors_are_terminal_;
  bool color_ = false, quiet_ = false, verbose_ = false;
  bool green_ = false;           ///< the green colour is switched on right now
  bool mid_line_ = false;        ///< generated text on the terminal has not ended its line
  bool progress_shown_ = false;  ///< the current line of standard error is a progress line
  std::string last_progress_;
  std::atomic<unsigned> logged_notes_{0};
  int output_error_ = 0;
};

/// `message (where); hint` on one line.
std::string one_line(const Error& error);

/// Takes the places of standard descriptors that the caller closed, so that no file opened later is
/// written to by mistake; writing to a standard output that was closed still fails.
void occupy_standard_descriptors();

}  // namespace spnl::host
