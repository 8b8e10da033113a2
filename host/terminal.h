#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

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
  ~Terminal();  ///< takes away what status() and progress() left

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
  /// What a command tells of files and names: as it is, but harmless to a terminal.
  void listing(std::string_view text);
  /// Text that a model wrote, maybe in pieces: green where colour is on, and harmless to a
  /// terminal.
  void generated(std::string_view text);
  /// Ends the colour of generated() and the line.
  void end_generated();

  void error(const Error& error);
  void warning(std::string_view text);
  void note(std::string_view text);  ///< not with --quiet
  /// To standard error as it is, with a newline: tables, printed texts.
  void line(std::string_view text);
  void log(LogLevel level, std::string_view component, std::string_view text);

  /// Whether standard error is a terminal that can show what changes: not a dumb one, not with
  /// --quiet.
  bool shows_status() const { return errors_are_terminal_ && !dumb_ && !quiet_; }
  struct Size {
    size_t columns, rows;
  };
  Size size() const;  ///< of the terminal on standard error, now
  /// Lines that stay below all that is printed, cut to the terminal's size, in place of those of
  /// the call before. Messages and results take them away until the next call.
  void status(const std::vector<std::string>& lines);
  /// A line of status above those: a stage of loading, gone once it is done.
  void progress(std::string_view stage, uint64_t done, uint64_t total);

  /// Asks the person a question on standard error and reads one line; nothing without a terminal or
  /// at the end of the input. Throws Error(kInterrupted) when `stop` is requested.
  std::optional<std::string> ask(std::string_view question, std::stop_token stop);

  /// How many notes or worse have come through log() so far.
  unsigned logged_notes() const { return logged_notes_; }

  int output_error() const;  ///< errno of the first failed write to standard output; 0: none

 private:
  std::string erase_status();
  void draw_status();
  void make_room_for_output();
  void write_output(std::string_view bytes);
  void write_errors(std::string_view text);
  void message(std::string_view kind, std::string_view text);

  mutable std::mutex mutex_;
  std::function<void()> on_failure_;
  bool output_is_terminal_, errors_are_terminal_;
  bool dumb_ = false, color_ = false, quiet_ = false, verbose_ = false;
  bool green_ = false;     ///< the green colour is switched on right now
  bool mid_line_ = false;  ///< generated text on the terminal has not ended its line
  std::string stage_;      ///< the line of progress(); empty: none
  std::vector<std::string> status_;
  std::vector<size_t> drawn_;  ///< columns of each line of status on the terminal right now
  std::chrono::steady_clock::time_point drawn_at_{};
  std::atomic<unsigned> logged_notes_{0};
  int output_error_ = 0;
};

/// `message (where); hint` on one line.
std::string one_line(const Error& error);

/// Takes the places of standard descriptors that the caller closed, so that no file opened later is
/// written to by mistake; writing to a standard output that was closed still fails.
void occupy_standard_descriptors();

}  // namespace spnl::host
