#pragma once
#include <string>
#include <utility>
#include <vector>

namespace spnl::host_test {

struct HostOptions {
  std::string input;             ///< standard input
  bool keep_input_open = false;  ///< no end of file: the program waits for more
  std::vector<std::pair<std::string, std::string>> environment;  ///< beside a small fixed one
  std::string output_file;                 ///< standard output goes here, not into a pipe
  bool close_output = false;               ///< the program starts without a standard output
  int signal_after_output = 0;             ///< sent once something has been printed
  int signal_after_ms = 0;                 ///< SIGINT after this long, 0: never
  bool stop_reading_after_output = false;  ///< closes the reading end of standard output then
  int timeout_ms = 20000;
};

struct HostResult {
  int exit_code =
      -1;  ///< minus the signal's number when a signal ended it, -1000 after the time limit
  std::string output, errors;
};

/// Runs the built spnl-host to its end.
HostResult run_host(const std::vector<std::string>& arguments, const HostOptions& options = {});

/// The same with --backend-path for the backend of these tests (prefix `fake`).
HostResult run_fake(std::vector<std::string> arguments, const HostOptions& options = {});

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// How often `part` stands in `text`.
inline size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

}  // namespace spnl::host_test
