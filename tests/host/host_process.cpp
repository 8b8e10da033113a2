#include "host_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>

namespace spnl::host_test {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  int read_end = -1, write_end = -1;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
    read_end = ends[0];
    write_end = ends[1];
  }
  ~Pipe() {
    close_read();
    close_write();
  }
  void close_read() {
    if (read_end >= 0) ::close(read_end);
    read_end = -1;
  }
  void close_write() {
    if (write_end >= 0) ::close(write_end);
    write_end = -1;
  }
};

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (std::string& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

pid_t spawn(std::vector<std::string> words, std::vector<std::string> environment,
            const HostOptions& options, Pipe& input, Pipe& output, Pipe& errors) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input.read_end, 0);
  if (options.close_output)
    posix_spawn_file_actions_addclose(&actions, 1);
  else if (!options.output_file.empty())
    posix_spawn_file_actions_addopen(&actions, 1, options.output_file.c_str(), O_WRONLY, 0);
  else
    posix_spawn_file_actions_adddup2(&actions, output.write_end, 1);
  posix_spawn_file_actions_adddup2(&actions, errors.write_end, 2);
  pid_t child = -1;
  int problem = ::posix_spawn(&child, SPNL_HOST_BINARY, &actions, nullptr, pointers(words).data(),
                              pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  if (problem != 0) throw std::runtime_error("cannot start " SPNL_HOST_BINARY);
  return child;
}

/// Appends what can be read; false at the end of the stream.
bool read_some(int descriptor, std::string& text) {
  char block[4096];
  ssize_t n = ::read(descriptor, block, sizeof block);
  if (n > 0) text.append(block, static_cast<size_t>(n));
  return n > 0;
}

/// Reads both streams until both end, sends what the options ask for; false at the time limit.
bool converse(pid_t child, const HostOptions& options, Pipe& output, Pipe& errors,
              HostResult& result) {
  Clock::time_point begin = Clock::now();
  bool signalled = false, timed_signal = false;
  while (output.read_end >= 0 || errors.read_end >= 0) {
    auto passed =
        std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
    if (passed > options.timeout_ms) return false;
    if (options.signal_after_ms > 0 && passed >= options.signal_after_ms && !timed_signal) {
      ::kill(child, SIGINT);
      timed_signal = true;
    }
    pollfd waiting[2] = {{output.read_end, POLLIN, 0}, {errors.read_end, POLLIN, 0}};
    if (::poll(waiting, 2, 20) <= 0) continue;
    if (waiting[0].revents != 0 && !read_some(output.read_end, result.output)) output.close_read();
    if (waiting[1].revents != 0 && !read_some(errors.read_end, result.errors)) errors.close_read();
    if (!result.output.empty() && options.signal_after_output != 0 && !signalled) {
      ::kill(child, options.signal_after_output);
      signalled = true;
    }
    if (!result.output.empty() && options.stop_reading_after_output) output.close_read();
  }
  return true;
}

}  // namespace

HostResult run_host(const std::vector<std::string>& arguments, const HostOptions& options) {
  ::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> words = {SPNL_HOST_BINARY};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = {"PATH=/usr/bin:/bin", "HOME=/nonexistent",
                                          "HF_HUB_OFFLINE=1"};
  for (const auto& [name, value] : options.environment) environment.push_back(name + "=" + value);

  Pipe input, output, errors;
  pid_t child = spawn(words, environment, options, input, output, errors);
  input.close_read();
  output.close_write();
  errors.close_write();
  if (!options.input.empty() &&
      ::write(input.write_end, options.input.data(), options.input.size()) < 0)
    input.close_write();
  if (!options.keep_input_open) input.close_write();

  HostResult result;
  bool ended = converse(child, options, output, errors, result);
  if (!ended) ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  result.exit_code = !ended ? -1000 : WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return result;
}

HostResult run_fake(std::vector<std::string> arguments, const HostOptions& options) {
  arguments.insert(arguments.begin() + 1, {"--backend-path", SPNL_FAKE_BACKENDS});
  return run_host(arguments, options);
}

}  // namespace spnl::host_test
