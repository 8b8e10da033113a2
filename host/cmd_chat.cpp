// spnl-host chat: a conversation with a model.
#include <unistd.h>

#include "chat_commands.h"
#include "command.h"
#include "line_input.h"
#include "model_options.h"
#include "query_run.h"
#include "utf8.h"

namespace spnl::host {
namespace {

constexpr const char* kBlockMark = "\"\"\"";
constexpr size_t kLongestMessage = 16u << 20;

/// $XDG_STATE_HOME/spnl, else ~/.local/state/spnl; empty when there is no home.
std::filesystem::path history_file() {
  std::filesystem::path folder;
  if (auto state = environment("XDG_STATE_HOME"); state && state->front() == '/')
    folder = *state;
  else if (auto home = environment("HOME"))
    folder = std::filesystem::path(*home) / ".local/state";
  else
    return {};
  return folder / "spnl" / "chat_history";
}

std::unique_ptr<LineInput> line_input(Interrupt& interrupt, bool at_terminal) {
  std::unique_ptr<LineInput> lines;
  if (at_terminal) lines = edited_lines(interrupt, history_file());
  return lines ? std::move(lines) : plain_lines(interrupt, at_terminal);
}

/// Reads lines until a message is whole: one line, lines that end in a backslash and the one after
/// them, or what stands between two lines of three quotes.
LineInput::Event read_message(LineInput& lines, std::string& message) {
  using Event = LineInput::Event;
  message.clear();
  bool block = false, more = false;
  do {
    std::string line;
    const Event event = lines.read(message.empty() && !block ? "> " : "... ", line);
    if (event == Event::kInterrupted) return event;
    if (event == Event::kEnd) return block || more ? Event::kLine : event;
    if (line == kBlockMark) {
      if (block) return Event::kLine;
      if (!more) {
        block = true;
        continue;
      }
    }
    more = !block && !line.empty() && line.back() == '\\';
    if (more) line.back() = '\n';
    message += line;
    if (block) message += '\n';
    if (message.size() > kLongestMessage)
      throw Error(ErrorCode::kUsage, "a message of more than 16 MB", "standard input",
                  "make it shorter");
  } while (block || more);
  return Event::kLine;
}

class Chat {
 public:
  Chat(Invocation& invocation, ChatSession& session, LineInput& lines, bool at_terminal)
      : terminal_(invocation.terminal),
        interrupt_(invocation.interrupt),
        session_(session),
        lines_(lines),
        at_terminal_(at_terminal) {}

  int run() {
    for (;;) {
      std::string message;
      const LineInput::Event event = read_message(lines_, message);
      if (event == LineInput::Event::kEnd) break;
      if (event == LineInput::Event::kInterrupted) {
        if (!go_on_after_stop()) return kExitInterrupted;
        continue;
      }
      if (!take(message)) break;
      if (terminal_.output_error() != 0) break;  // nobody reads any more
      if (interrupt_.token().stop_requested() && !go_on_after_stop()) return kExitInterrupted;
    }
    return failed_ && !at_terminal_ ? kExitFailed : kExitDone;
  }

 private:
  /// A Ctrl-C at a terminal is over once it stopped an answer or dropped a line. Without a person
  /// there, it ends the program.
  bool go_on_after_stop() {
    if (!at_terminal_ || interrupt_.terminated()) return false;
    interrupt_.renew();
    return true;
  }

  /// False when the session is to end.
  bool take(std::string& message) {
    try {
      while (!message.empty() && (message.back() == '\n' || message.back() == ' '))
        message.pop_back();
      if (message.empty()) return true;
      if (first_invalid_utf8(message) != std::string::npos)
        throw Error(ErrorCode::kUsage, "the message is not UTF-8", "standard input",
                    "it is left out");
      if (message[0] == '/' && message.compare(0, 2, "//") != 0)
        return run_chat_command(message, session_, terminal_);
      if (message[0] == '/') message.erase(0, 1);
      if (session_.answer(message, interrupt_.token()) == ChatSession::Outcome::kStopped &&
          at_terminal_)
        terminal_.note("stopped");
    } catch (const Error& error) {
      failed_ = true;
      terminal_.error(error);
    }
    return true;
  }

  Terminal& terminal_;
  Interrupt& interrupt_;
  ChatSession& session_;
  LineInput& lines_;
  const bool at_terminal_;
  bool failed_ = false;
};

int run(Invocation& invocation) {
  const Arguments& args = invocation.args;
  Terminal& terminal = invocation.terminal;
  ChatSession::Options options;
  options.evaluate = evaluate_options(args, terminal, {});
  options.evaluate.default_model = required_model(args);
  options.json = args.has("json");
  options.times = args.has("time");
  const bool at_terminal = ::isatty(STDIN_FILENO) == 1 && terminal.errors_are_terminal();

  invocation.interrupt.graceful();
  Backends backends(backends_options(args, terminal));
  ChatSession session(backends, terminal, std::move(options), invocation.interrupt.token());
  if (args.has("load")) load_conversation(*args.get("load"), session);
  if (auto system = args.get("system")) session.set_system(*system);
  std::unique_ptr<LineInput> lines = line_input(invocation.interrupt, at_terminal);
  if (at_terminal) terminal.note("/help tells what can be typed, Ctrl-D leaves");
  return Chat(invocation, session, *lines, at_terminal).run();
}

}  // namespace

Command chat_command() {
  return {"chat",
          "Talks with a model, line by line.",
          "--model M [--system S] [--load FILE] [options]",
          kGeneral | kBackend | kModel | kSampling,
          {{"system", 0, "S", "system message before the conversation"},
           {"load", 0, "FILE", "go on from a conversation that /save wrote"}},
          0,
          "On a terminal lines can be edited and searched (Ctrl-R), and are kept in "
          "$XDG_STATE_HOME/spnl/chat_history.\n"
          "Ctrl-C stops an answer, Ctrl-D leaves, /help lists the commands. Piped input is taken "
          "line by line, without\n"
          "prompts; then the exit code is 1 when a line failed, and Ctrl-C ends the program.",
          run};
}

}  // namespace spnl::host
