#include "input.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "spnl/error.h"
#include "utf8.h"

namespace spnl::host {
namespace {

constexpr size_t kMostInput = 100'000'000;

/// A descriptor that closes itself, unless it is standard input.
class InputFile {
 public:
  explicit InputFile(const std::string& path)
      : descriptor_(path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~InputFile() {
    if (descriptor_ > STDIN_FILENO) ::close(descriptor_);
  }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

[[noreturn]] void input_error(const std::string& what, const std::string& path,
                              const std::string& option) {
  std::string name = path == "-" ? "standard input" : path;
  throw Error(ErrorCode::kUsage, "cannot read '" + name + "': " + what, option,
              "give a readable file");
}

}  // namespace

std::string read_input(const std::string& path, const std::string& option) {
  InputFile file(path);
  if (file.descriptor() < 0) input_error(std::strerror(errno), path, option);
  std::string out;
  char block[1 << 16];
  for (;;) {
    ssize_t n = ::read(file.descriptor(), block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {  // a parent made the pipe non-blocking: wait for more
      pollfd more{file.descriptor(), POLLIN, 0};
      ::poll(&more, 1, -1);
      continue;
    }
    if (n < 0) input_error(std::strerror(errno), path, option);
    if (n == 0) return out;
    if (out.size() + static_cast<size_t>(n) > kMostInput)
      input_error("larger than 100 MB", path, option);
    out.append(block, static_cast<size_t>(n));
  }
}

void check_file(const std::string& path, const std::string& option) {
  InputFile file(path);
  struct stat status {};
  if (file.descriptor() < 0 || ::fstat(file.descriptor(), &status) != 0)
    input_error(std::strerror(errno), path, option);
  if (S_ISDIR(status.st_mode)) input_error(std::strerror(EISDIR), path, option);
}

std::string read_text(const std::string& path, const std::string& option) {
  std::string text = read_input(path, option);
  if (size_t at = first_invalid_utf8(text); at != std::string_view::npos)
    input_error("not UTF-8 at byte " + std::to_string(at), path, option);
  return text;
}

Prompt raw_prompt(std::string text, bool parse_special) {
  Prompt leaf;
  leaf.kind = Prompt::Kind::kMessage;
  leaf.role = Role::kNone;
  leaf.text = std::move(text);
  leaf.parse_special = parse_special;
  Prompt root;
  root.children.push_back(std::move(leaf));
  return root;
}

Prompt token_prompt(std::vector<int32_t> ids) {
  Prompt leaf;
  leaf.kind = Prompt::Kind::kTokens;
  leaf.role = Role::kNone;
  leaf.tokens = std::move(ids);
  Prompt root;
  root.children.push_back(std::move(leaf));
  return root;
}

Prompt chat_prompt(const std::string& system, std::string user) {
  Prompt root;
  auto add = [&](Role role, std::string text) {
    Prompt leaf;
    leaf.kind = Prompt::Kind::kMessage;
    leaf.role = role;
    leaf.text = std::move(text);
    root.children.push_back(std::move(leaf));
  };
  if (!system.empty()) add(Role::kSystem, system);
  add(Role::kUser, std::move(user));
  return root;
}

}  // namespace spnl::host
