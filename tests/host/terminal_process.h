#pragma once
#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

namespace spnl::host_test {

struct TerminalOptions {
  unsigned short columns = 80, rows = 24;
  std::vector<std::pair<std::string, std::string>> environment;  ///< beside a small fixed one
};

/// The built spnl-host on a terminal of its own, with the backend of these tests.
class TerminalProcess {
 public:
  explicit TerminalProcess(std::vector<std::string> arguments, const TerminalOptions& options = {});
  ~TerminalProcess();  ///< ends the program when it still runs
  TerminalProcess(const TerminalProcess&) = delete;
  TerminalProcess& operator=(const TerminalProcess&) = delete;

  void type(const std::string& keys);
  /// Reads until `text` comes after what was waited for before; false at the time limit.
  bool wait_for(const std::string& text, int timeout_ms = 10000);
  /// Reads to the end; the exit code, minus the signal's number, or -1000 at the time limit.
  int finish(int timeout_ms = 10000);
  void send_signal(int number);
  /// Closes the terminal's window.
  void hang_up();
  /// All that was written to the terminal.
  const std::string& written() const { return written_; }

 private:
  bool read_some(int timeout_ms);

  int terminal_ = -1;
  pid_t child_ = -1;
  std::string written_;
  size_t seen_ = 0;
};

/// What a terminal of `columns` shows after `written`: its lines, without blanks at their ends and
/// without empty lines at the end. Knows what spnl-host uses: line breaks, returns, cursor up,
/// erase below; other escape sequences are dropped.
std::vector<std::string> screen(const std::string& written, size_t columns);

}  // namespace spnl::host_test
