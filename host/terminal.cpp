#include "terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "text_width.h"
#include "utf8.h"

namespace spnl::host {
namespace {

constexpr std::string_view kGreen = "\x1b[32m", kReset = "\x1b[0m", kEraseBelow = "\x1b[J";
constexpr std::chrono::milliseconds kBetweenDraws(100);

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

bool is_dumb() {
  const char* kind = std::getenv("TERM");
  return kind == nullptr || *kind == '\0' || std::strcmp(kind, "dumb") == 0;
}

bool no_color_wanted() {
  const char* value = std::getenv("NO_COLOR");
  return value != nullptr && *value != '\0';
}

}  // namespace

Terminal::Terminal()
    : output_is_terminal_(::isatty(STDOUT_FILENO) == 1),
      errors_are_terminal_(::isatty(STDERR_FILENO) == 1),
      dumb_(is_dumb()) {
  set_color(ColorMode::kAuto);
}

Terminal::~Terminal() {
  if (std::string erase = erase_status(); !erase.empty()) write_all(STDERR_FILENO, erase);
}

void Terminal::set_color(ColorMode mode) {
  color_ = mode == ColorMode::kAlways ||
           (mode == ColorMode::kAuto && output_is_terminal_ && !dumb_ && !no_color_wanted());
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
  std::string out = erase_status();
  // A message in the midst of streamed text begins on a line of its own where both share a
  // terminal.
  if (mid_line_ && output_is_terminal_ && errors_are_terminal_) out += "\n";
  out += text;
  write_all(STDERR_FILENO, out);
}

void Terminal::make_room_for_output() {
  if (!output_is_terminal_) return;
  if (std::string erase = erase_status(); !erase.empty()) write_all(STDERR_FILENO, erase);
}

void Terminal::result(std::string_view bytes) {
  std::lock_guard lock(mutex_);
  make_room_for_output();
  write_output(bytes);
}

void Terminal::listing(std::string_view text) {
  result(output_is_terminal_ ? without_controls(text) : std::string(text));
}

void Terminal::generated(std::string_view text) {
  if (text.empty()) return;
  std::lock_guard lock(mutex_);
  make_room_for_output();
  std::string out;
  if (color_ && !green_) out += kGreen;
  green_ = color_;
  out += output_is_terminal_ ? without_controls(text) : std::string(text);
  mid_line_ = text.back() != '\n';
  write_output(out);
}

void Terminal::end_generated() {
  std::lock_guard lock(mutex_);
  make_room_for_output();
  std::string out = green_ ? std::string(kReset) + "\n" : "\n";
  green_ = mid_line_ = false;
  write_output(out);
}

void Terminal::message(std::string_view kind, std::string_view text) {
  std::lock_guard lock(mutex_);
  write_errors("spnl-host: " + std::string(kind) + ": " + on_one_line(text) + "\n");
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

Terminal::Size Terminal::size() const {
  winsize window{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_col == 0 || window.ws_row == 0)
    return {80, 24};
  return {window.ws_col, window.ws_row};
}

/// What takes the drawn lines off the terminal, and forgets them.
std::string Terminal::erase_status() {
  if (drawn_.empty()) return "";
  // In a terminal that has become narrower since, the lines take more rows.
  const size_t columns = size().columns;
  size_t rows = 0;
  for (size_t width : drawn_) rows += std::max<size_t>(1, (width + columns - 1) / columns);
  drawn_.clear();
  std::string out = "\r";
  if (rows > 1) out += "\x1b[" + std::to_string(rows - 1) + "A";
  return out += kEraseBelow;
}

void Terminal::draw_status() {
  std::string out = erase_status();
  const Size room = size();
  std::vector<std::string> lines = status_;
  if (!stage_.empty()) lines.insert(lines.begin(), stage_);
  lines.resize(std::min(lines.size(), room.rows - 1));
  for (const std::string& line : lines) {
    // The last column stays empty: some terminals begin a new line once it is written.
    std::string shown = cut_to_width(line, room.columns - 1);
    if (!drawn_.empty()) out += "\n";
    drawn_.push_back(display_width(shown));
    out += shown;
  }
  drawn_at_ = std::chrono::steady_clock::now();
  if (!out.empty()) write_all(STDERR_FILENO, out);
}

void Terminal::status(const std::vector<std::string>& lines) {
  if (!shows_status()) return;
  std::lock_guard lock(mutex_);
  status_.clear();
  for (const std::string& line : lines) status_.push_back(on_one_line(line));
  if (!mid_line_ || !output_is_terminal_) draw_status();
}

void Terminal::progress(std::string_view stage, uint64_t done, uint64_t total) {
  if (!shows_status()) return;
  std::lock_guard lock(mutex_);
  const bool finished = total > 0 && done >= total;
  stage_ = finished ? "" : on_one_line(stage);
  if (!finished && total > 0)
    stage_ += " " + std::to_string(done * 100 / std::max<uint64_t>(total, 1)) + "%";
  const bool soon = std::chrono::steady_clock::now() - drawn_at_ < kBetweenDraws;
  if ((mid_line_ && output_is_terminal_) || (soon && !finished)) return;
  draw_status();
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
