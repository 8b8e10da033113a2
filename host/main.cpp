// spnl-host: reads the command line, runs one command, turns errors into one line and an exit code.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

#include "command.h"

namespace spnl::host {
namespace {

std::vector<Command> commands() {
  return {run_command(),      explain_command(),  chat_command(),    generate_command(),
          tokenize_command(), template_command(), score_command(),   bench_command(),
          list_command(),     quantize_command(), inspect_command(), backends_command(),
          doctor_command()};
}

struct PlannedCommand {
  const char *name, *instead;
};
constexpr PlannedCommand kPlanned[] = {{"pull", "put the model into the Hugging Face cache"},
                                       {"remove", "delete the model from the Hugging Face cache"}};

std::string program_help() {
  std::string out =
      "usage: spnl-host -c QUERY\n"
      "       spnl-host COMMAND [options]\n\n"
      "Runs span queries and the models they name.\n\ncommands:\n";
  for (const Command& command : commands()) {
    std::string name = std::string("  ") + command.name;
    name.resize(14, ' ');
    out += name + command.summary + "\n";
  }
  return out +
         "\nspnl-host COMMAND --help tells about one; -c QUERY is short for run -c QUERY.\n"
         "Results go to standard output, everything else to standard error.\n\n"
         "exit codes:\n"
         "  0    done\n"
         "  1    evaluation failed, or the result could not be written\n"
         "  2    bad usage or bad query\n"
         "  3    model or backend not found or not loadable\n"
         "  130  interrupted\n";
}

std::string version_text() { return "spnl-host " SPNL_VERSION "\n"; }

/// What `words` ask for: the command, and the words that belong to it.
const Command& find_command(const std::vector<Command>& all, std::vector<std::string>& words) {
  std::string first = words.front();
  if (first[0] == '-') return all.front();  // options of run
  words.erase(words.begin());
  std::vector<std::string> names;
  for (const Command& command : all) {
    if (first == command.name) return command;
    names.push_back(command.name);
  }
  for (const PlannedCommand& planned : kPlanned)
    if (first == planned.name)
      throw Error(ErrorCode::kUsage, "command '" + first + "' comes in a later version",
                  "command line", planned.instead);
  std::string near = near_name(first, names);
  throw Error(ErrorCode::kUsage, "unknown command '" + first + "'", "command line",
              near.empty() ? "see spnl-host --help" : near);
}

ColorMode color_mode(const Arguments& args) {
  std::string color = args.get("color").value_or("auto");
  if (color == "auto") return ColorMode::kAuto;
  if (color == "always") return ColorMode::kAlways;
  if (color == "never") return ColorMode::kNever;
  throw Error(ErrorCode::kUsage, "'" + color + "' is not a colour mode", "--color",
              "give auto, always or never");
}

int run_words(std::vector<std::string> words, Terminal& terminal, Interrupt& interrupt) {
  if (words.empty()) {
    terminal.line(program_help());
    return kExitUsage;
  }
  if (words[0] == "help" && words.size() == 2) words = {words[1], "--help"};
  if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    terminal.result(program_help());
    return kExitDone;
  }
  if (words[0] == "--version" || words[0] == "-V") {
    terminal.result(version_text());
    return kExitDone;
  }
  if (words[0].empty())
    throw Error(ErrorCode::kUsage, "the command is empty", "command line", "see spnl-host --help");
  std::vector<Command> all = commands();
  const Command& command = find_command(all, words);
  Invocation invocation{command, read_arguments(command, words), terminal, interrupt};
  if (invocation.args.has("help") || invocation.args.has("version")) {
    terminal.result(invocation.args.has("help") ? command_help(command) : version_text());
    return kExitDone;
  }
  if (invocation.args.has("quiet") && invocation.args.has("verbose"))
    throw Error(ErrorCode::kUsage, "--quiet and --verbose contradict each other", "command line",
                "give one of them");
  terminal.set_color(color_mode(invocation.args));
  terminal.set_quiet(invocation.args.has("quiet"));
  terminal.set_verbose(invocation.args.has("verbose"));
  return command.run(invocation);
}

/// An answer that did not reach its reader is no success. A pipe closed by its reader ends quietly.
int checked_output(int code, Terminal& terminal) {
  int problem = terminal.output_error();
  if (problem == 0 || code == kExitInterrupted) return code;
  if (problem != EPIPE)
    terminal.error(Error(ErrorCode::kEvaluation, "cannot write the result", "standard output",
                         std::strerror(problem)));
  return kExitFailed;
}

int guarded_run(const std::vector<std::string>& words, Terminal& terminal, Interrupt& interrupt) {
  try {
    return run_words(words, terminal, interrupt);
  } catch (const Error& error) {
    bool by_person = error.code() == ErrorCode::kInterrupted && interrupt.signalled();
    bool unread = error.code() == ErrorCode::kInterrupted && terminal.output_error() != 0;
    if (by_person)
      terminal.note("interrupted");
    else if (!unread)
      terminal.error(error);
    return unread && !by_person ? kExitFailed : exit_code(error.code());
  } catch (const std::bad_alloc&) {
    terminal.error(Error(ErrorCode::kEvaluation, "out of memory", "",
                         "try a smaller model or a smaller context"));
  } catch (const std::exception& e) {
    terminal.error(Error(ErrorCode::kEvaluation, e.what()));
  }
  return kExitFailed;
}

}  // namespace

int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUsage:
    case ErrorCode::kBadQuery:
      return kExitUsage;
    case ErrorCode::kNotFound:
    case ErrorCode::kNotLoadable:
    case ErrorCode::kNoRoom:
      return kExitNotFound;
    case ErrorCode::kInterrupted:
      return kExitInterrupted;
    case ErrorCode::kEvaluation:
    case ErrorCode::kUnsupported:
      break;
  }
  return kExitFailed;
}

namespace {

int run_program(int argc, char** argv) {
  occupy_standard_descriptors();
  Interrupt interrupt;
  Terminal terminal;
  terminal.set_output_failure_handler([&] { interrupt.stop(); });
  std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  return checked_output(guarded_run(words, terminal, interrupt), terminal);
}

/// Everything of ours is closed by now. What static destructors of libraries would undo piece by
/// piece (libtorch: a sixth of a short run) the system takes back at once.
[[noreturn]] void end_process(int code) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  std::exit(code);  // where leaks and races are told
#else
  std::fflush(nullptr);
  std::_Exit(code);
#endif
}

}  // namespace
}  // namespace spnl::host

int main(int argc, char** argv) { spnl::host::end_process(spnl::host::run_program(argc, argv)); }
