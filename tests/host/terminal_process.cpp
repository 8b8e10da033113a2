#include "terminal_process.h"

#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <stdexcept>

namespace spnl::host_test {
namespace {

using Clock = std::chrono::steady_clock;

int milliseconds_until(Clock::time_point end) {
  return static_cast<int>(std::max<int64_t>(
      0, std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count()));
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (std::string& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

}  // namespace

TerminalProcess::TerminalProcess(std::vector<std::string> arguments,
                                 const TerminalOptions& options) {
  arguments.insert(arguments.begin() + 1, {"--backend-path", SPNL_FAKE_BACKENDS});
  arguments.insert(arguments.begin(), SPNL_HOST_BINARY);
  std::map<std::string, std::string> values = {{"PATH", "/usr/bin:/bin"},
                                               {"HOME", "/nonexistent"},
                                               {"XDG_STATE_HOME", "/dev/null/no-history"},
                                               {"TERM", "xterm-256color"}};
  for (const auto& [name, value] : options.environment) values[name] = value;
  std::vector<std::string> environment;
  for (const auto& [name, value] : values) environment.push_back(name + "=" + value);
  const std::vector<char*> words = pointers(arguments), variables = pointers(environment);
  winsize window{options.rows, options.columns, 0, 0};
  child_ = ::forkpty(&terminal_, nullptr, nullptr, &window);
  if (child_ < 0) throw std::runtime_error("forkpty failed");
  if (child_ == 0) {
    ::execve(SPNL_HOST_BINARY, words.data(), variables.data());
    ::_exit(99);
  }
}

TerminalProcess::~TerminalProcess() {
  hang_up();
  if (child_ < 0) return;
  ::kill(child_, SIGKILL);
  ::waitpid(child_, nullptr, 0);
}

void TerminalProcess::type(const std::string& keys) {
  if (::write(terminal_, keys.data(), keys.size()) != static_cast<ssize_t>(keys.size()))
    throw std::runtime_error("cannot type");
}

bool TerminalProcess::read_some(int timeout_ms) {
  pollfd ready{terminal_, POLLIN, 0};
  if (::poll(&ready, 1, timeout_ms) <= 0) return false;
  char block[4096];
  const ssize_t n = ::read(terminal_, block, sizeof block);
  if (n <= 0) return false;  // EIO once the program is gone
  written_.append(block, static_cast<size_t>(n));
  return true;
}

bool TerminalProcess::wait_for(const std::string& text, int timeout_ms) {
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    if (const size_t at = written_.find(text, seen_); at != std::string::npos) {
      seen_ = at + text.size();
      return true;
    }
    const int left = milliseconds_until(end);
    if (left == 0 || !read_some(left)) return false;
  }
}

int TerminalProcess::finish(int timeout_ms) {
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(timeout_ms);
  int status = 0;
  for (;;) {
    const bool read = terminal_ >= 0 && read_some(20);
    if (!read && ::waitpid(child_, &status, WNOHANG) == child_) break;
    if (!read && milliseconds_until(end) == 0) return -1000;
    if (terminal_ < 0) ::usleep(5000);
  }
  while (terminal_ >= 0 && read_some(0)) {
  }
  child_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void TerminalProcess::send_signal(int number) { ::kill(child_, number); }

void TerminalProcess::hang_up() {
  if (terminal_ >= 0) ::close(terminal_);
  terminal_ = -1;
}

std::vector<std::string> screen(const std::string& written, size_t columns) {
  std::vector<std::string> lines(1);
  size_t row = 0, column = 0;
  auto put = [&](char c) {
    if (column == columns) column = 0, ++row;
    if (row >= lines.size()) lines.resize(row + 1);
    if (lines[row].size() <= column) lines[row].resize(column + 1, ' ');
    lines[row][column++] = c;
  };
  for (size_t i = 0; i < written.size(); ++i) {
    const char c = written[i];
    if (c == '\r') {
      column = 0;
    } else if (c == '\n') {
      if (++row >= lines.size()) lines.resize(row + 1);
    } else if (c == '\x1b' && i + 1 < written.size() && written[i + 1] == '[') {
      const size_t end = written.find_first_of("ABCDHJKmhlP@", i + 2);
      if (end == std::string::npos) break;
      const std::string number = written.substr(i + 2, end - i - 2);
      if (written[end] == 'A') row -= std::min<size_t>(row, std::max(1, std::atoi(number.c_str())));
      if (written[end] == 'J') {
        lines.resize(row + 1);
        lines[row].resize(std::min(lines[row].size(), column));
      }
      i = end;
    } else if ((static_cast<unsigned char>(c) & 0xC0) == 0x80) {
      continue;  // the rest of a character of one column
    } else {
      put(static_cast<unsigned char>(c) < 0x80 ? c : '?');
    }
  }
  for (std::string& line : lines) line.erase(line.find_last_not_of(' ') + 1);
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

}  // namespace spnl::host_test
