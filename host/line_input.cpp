#include "line_input.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "spnl/error.h"

namespace spnl::host {
namespace {

constexpr size_t kLongestLine = 16u << 20;

class PlainLines : public LineInput {
 public:
  PlainLines(Interrupt& interrupt, bool prompts) : interrupt_(interrupt), prompts_(prompts) {}

  Event read(const char* prompt, std::string& line) override {
    if (prompts_) show(prompt);
    for (size_t looked_at = 0;;) {
      const size_t end = buffer_.find('\n', looked_at);
      if (end != std::string::npos) return take(end, 1, line);
      if (ended_ && buffer_.empty()) {
        if (prompts_) show("\n");
        return Event::kEnd;
      }
      if (ended_) return take(buffer_.size(), 0, line);
      if (buffer_.size() > kLongestLine)
        throw Error(ErrorCode::kUsage, "a line of more than 16 MB", "standard input",
                    "break it into several");
      looked_at = buffer_.size();
      if (!fill()) return Event::kInterrupted;
    }
  }

 private:
  static void show(std::string_view text) {
    (void)!::write(STDERR_FILENO, text.data(), text.size());
  }

  Event take(size_t length, size_t line_break, std::string& line) {
    line = buffer_.substr(0, length);
    buffer_.erase(0, length + line_break);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    return Event::kLine;
  }

  /// False when a stop is requested.
  bool fill() {
    pollfd ready[2] = {{STDIN_FILENO, POLLIN, 0}, {interrupt_.descriptor(), POLLIN, 0}};
    if (::poll(ready, 2, -1) < 0) return true;
    if (ready[1].revents != 0) return false;
    char block[65536];
    const ssize_t n = ::read(STDIN_FILENO, block, sizeof block);
    if (n > 0) buffer_.append(block, static_cast<size_t>(n));
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) ended_ = true;
    return true;
  }

  Interrupt& interrupt_;
  const bool prompts_;
  std::string buffer_;  ///< read, not yet taken
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<LineInput> plain_lines(Interrupt& interrupt, bool prompts) {
  return std::make_unique<PlainLines>(interrupt, prompts);
}

}  // namespace spnl::host
