#include "terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "utf8.h"

namespace spnl::host {
namespace {

constexpr std::string_view kGreen = "\x1b[32m", kReset = "\x1b[0m", kClearLine = "\r\x1b[K";

/// 0, or the errno that ended the writing.
int write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) {  // a parent made the pipe non-blocking: wait for room
      pollfd room{descriptor, POLLOUT, 0};
      ::poll(&room, 1, -1);
      continue;
    }
    if (written <= 0) return written < 0 ? errno : EIO;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

/// Messages are one line whatever a file name or a plugin puts into them.
std::string flattened(std::string_view text) {
  std::string out = without_controls(replace_invalid_utf8(text));
  while (!out.empty() && out.back() == '\n') out.pop_back();
  for (char& c : out)
    if (c == '\n' || c == '\t') c = ' ';
  return out;
}

bool no_color_wanted() {
  const char* value = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  return (value != nullptr && *value != '\0') ||
         (terminal != nullptr && std::strcmp(terminal, "dumb") == 0);
}

}  // namespace

Terminal::Terminal()
    : output_is_terminal_(::isatty(STDOUT_FILENO) == 1),
      errors_are_terminal_(::isatty(STDERR_FILENO) == 1) {
  set_color(ColorMode::kAuto);
}

void Terminal::set_color(ColorMode mode) {
  color_ = mode == ColorMode::kAlways ||
           (mode == ColorMode::kAuto && output_is_terminal_ && !no_color_wanted());
}

void Terminal::set_output_failure_handler(std::function<void()> handler) {
  std::lock_guard lock(mutex_);
  on_failure_ = std::move(handler);
}

void Terminal::write_output(std::string_view bytes) {
  if (output_error_ != 0) return;
  output_error_ = write_all(STDOUT_FILENO, bytes);
  if (output_error_ != 0 && on_failure_) on_failure_();
}

void Terminal::write_errors(std::string_view text) {
  std::string out;
  if (progress_shown_) out += kClearLine;
  progress_shown_ = false;
  // A message in the midst of streamed text begins on a line of its own where both share a
  // terminal.
  if (mid_line_ && output_is_terminal_ && errors_are_terminal_) out += "\n";
  out += text;
  write_all(STDERR_FILENO, out);
}

void Terminal::result(std::string_view bytes) {
  std::lock_guard lock(mutex_);
  if (progress_shown_) write_errors("");
  write_output(bytes);
}

void Terminal::generated(std::string_view text) {
  if (text.empty()) return;
  std::lock_guard lock(mutex_);
  if (progress_shown_) write_errors("");
  std::string out;
  if (color_ && !green_) out += kGreen;
  green_ = color_;
  out += output_is_terminal_ ? without_controls(text) : std::string(text);
  mid_line_ = text.back() != '\n';
  write_output(out);
}

void Terminal::end_generated() {
  std::lock_guard lock(mutex_);
  if (progress_shown_) write_errors("");
  std::string out = green_ ? std::string(kReset) + "\n" : "\n";
  green_ = mid_line_ = false;
  write_output(out);
}

void Terminal::message(std::string_view kind, std::string_view text) {
  std::lock_guard lock(mutex_);
  write_errors("spnl-host: " + std::string(kind) + ": " + flattened(text) + "\n");
}

void Terminal::error(const Error& error) { message("error", one_line(error)); }

void Terminal::warning(std::string_view text) { message("warning", text); }

void Terminal::note(std::string_view text) {
  if (!quiet_) message("note", text);
}

void Terminal::line(std::string_view text) {
  std::lock_guard lock(mutex_);
  write_errors((errors_are_terminal_ ? without_controls(text) : std::string(text)) + "\n");
}

void Terminal::log(LogLevel level, std::string_view component, std::string_view text) {
  static constexpr std::string_view kNames[] = {"debug", "info", "note", "warning", "error"};
  if (level >= LogLevel::kNote) ++logged_notes_;
  LogLevel least = quiet_ ? LogLevel::kError : verbose_ ? LogLevel::kDebug : LogLevel::kNote;
  if (level < least || level > LogLevel::kError) return;
  message(kNames[static_cast<size_t>(level)], std::string(component) + ": " + std::string(text));
}

std::optional<std::string> Terminal::ask(std::string_view question, std::stop_token stop) {
  if (!errors_are_terminal_ || ::isatty(STDIN_FILENO) == 0) return std::nullopt;
  write_errors(std::string(question) + " ");
  std::string answer;
  for (;;) {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    const int ready = ::poll(&input, 1, 100);
    if (stop.stop_requested()) throw Error(ErrorCode::kInterrupted, "interrupted");
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    char c = 0;
    if (::read(STDIN_FILENO, &c, 1) != 1) return std::nullopt;
    if (c == '\n') return answer;
    answer += c;
  }
}

void Terminal::progress(std::string_view stage, uint64_t done, uint64_t total) {
  if (!errors_are_terminal_ || quiet_) return;
  std::string text = flattened(stage);
  if (total > 0)
    text += " " +
            std::to_string(
                static_cast<int>(100.0 * static_cast<double>(done) / static_cast<double>(total))) +
            "%";
  std::lock_guard lock(mutex_);
  if (mid_line_ || (progress_shown_ && text == last_progress_)) return;
  bool finished = total > 0 && done >= total;
  write_all(STDERR_FILENO, std::string(kClearLine) + (finished ? "" : text));
  progress_shown_ = !finished;
  last_progress_ = text;
}

int Terminal::output_error() const {
  std::lock_guard lock(mutex_);
  return output_error_;
}

std::string one_line(const Error& error) {
  std::string out = error.message();
  if (!error.where().empty()) out += " (" + error.where() + ")";
  if (!error.hint().empty()) out += "; " + error.hint();
  return out;
}

void occupy_standard_descriptors() {
  for (int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest free number is the one just found closed. Standard output is opened for reading,
    // so writes fail.
    int flags = descriptor == STDERR_FILENO ? O_WRONLY : O_RDONLY;
    if (::open("/dev/null", flags) != descriptor) continue;
  }
}

}  // namespace spnl::host
