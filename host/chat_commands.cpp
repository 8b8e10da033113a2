#include "chat_commands.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "args.h"
#include "input.h"
#include "model_options.h"
#include "spnl/error.h"
#include "spnl/print.h"
#include "spnl/reader.h"

namespace spnl::host {
namespace {

struct Context {
  ChatSession& session;
  Terminal& terminal;
};

struct ChatCommand {
  const char *name, *argument, *help;
  bool (*run)(const std::string& argument, const Context& context);
};

/// No shell has replaced the ~ of what is typed here.
std::string path_argument(const std::string& argument, const char* command) {
  if (argument.empty())
    throw Error(ErrorCode::kUsage, std::string(command) + " needs a file's name", "",
                std::string("write ") + command + " talk.json");
  const auto home = environment("HOME");
  return argument.compare(0, 2, "~/") == 0 && home ? *home + argument.substr(1) : argument;
}

bool show_help(const std::string&, const Context& context);

bool set_system(const std::string& text, const Context& context) {
  if (text.empty()) {
    const std::string& now = context.session.system();
    context.terminal.line(now.empty() ? "no system text" : now);
  } else {
    context.session.set_system(text);
  }
  return true;
}

bool clear(const std::string&, const Context& context) {
  context.session.clear();
  context.terminal.note("the conversation begins anew");
  return true;
}

bool save(const std::string& argument, const Context& context) {
  const std::string path = path_argument(argument, "/save");
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    throw Error(ErrorCode::kUsage, "is a directory", path, "name a file in it");
  if (spelling_of(path) != Spelling::kJson)
    throw Error(ErrorCode::kUsage, "conversations are saved as JSON", path,
                "give a name that ends in .json");
  errno = 0;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << print_json(context.session.query(), 2) << '\n';
  file.close();
  if (!file) throw Error(ErrorCode::kUsage, "cannot be written", path, std::strerror(errno));
  context.terminal.note(std::to_string(context.session.messages()) + " messages saved");
  return true;
}

bool load(const std::string& argument, const Context& context) {
  load_conversation(path_argument(argument, "/load"), context.session);
  context.terminal.note(std::to_string(context.session.messages()) + " messages loaded");
  return true;
}

std::string megabytes(uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

bool show_stats(const std::string&, const Context& context) {
  const ChatSession& session = context.session;
  const ModelInfo& info = session.model_info();
  const ModelStats stats = session.stats();
  if (!session.times().empty()) context.terminal.line(times_table(session.times()));
  context.terminal.line(session.model_name() + ": " + info.architecture + " on " + info.device +
                        ", context " + std::to_string(info.context) + " tokens, " +
                        std::to_string(session.messages()) + " messages; weights " +
                        megabytes(stats.bytes_weights) + ", cache " + megabytes(stats.bytes_cache) +
                        ", " + std::to_string(stats.cache_hit_tokens) + " of " +
                        std::to_string(stats.cache_asked_tokens) + " prompt tokens came from it");
  return true;
}

bool leave(const std::string&, const Context&) { return false; }

constexpr ChatCommand kCommands[] = {
    {"/help", "", "this text", show_help},
    {"/system", "[TEXT]", "set the system text; without TEXT: show it", set_system},
    {"/clear", "", "forget the conversation, keep the system text", clear},
    {"/save", "FILE.json", "write the conversation as a query that run -f takes", save},
    {"/load", "FILE", "go on from a saved conversation", load},
    {"/stats", "", "tokens, cache and times of all answers", show_stats},
    {"/exit", "", "leave, as Ctrl-D does", leave},
};

bool show_help(const std::string&, const Context& context) {
  for (const ChatCommand& command : kCommands) {
    std::string line = std::string("  ") + command.name + " " + command.argument;
    line.resize(20, ' ');
    context.terminal.line(line + command.help);
  }
  context.terminal.line(
      "A line that ends in \\ goes on in the next; lines between \"\"\" and \"\"\" are one "
      "message.\n"
      "// at the start stands for a / of the message. Ctrl-C stops an answer or drops a line.");
  return true;
}

}  // namespace

void load_conversation(const std::string& path, ChatSession& session) {
  const std::string text = read_text(path, "");
  ReadOptions options;
  options.source_name = path;
  options.bindings["model"] = session.model_name();
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (!folder.empty()) options.folder = folder;
  session.load(read_query(text, spelling_of(path), options));
}

bool run_chat_command(const std::string& line, ChatSession& session, Terminal& terminal) {
  const size_t end = line.find_first_of(" \t");
  const std::string name = line.substr(0, end);
  std::string argument;
  if (const size_t begin = line.find_first_not_of(" \t", end); begin != std::string::npos)
    argument = line.substr(begin, line.find_last_not_of(" \t") - begin + 1);
  std::vector<std::string> names;
  for (const ChatCommand& command : kCommands) {
    if (name == command.name) return command.run(argument, {session, terminal});
    names.emplace_back(command.name);
  }
  const std::string near = near_name(name, names);
  throw Error(ErrorCode::kUsage, "no command '" + name + "'", "",
              near.empty() ? "see /help; // stands for a / of the message" : near);
}

}  // namespace spnl::host
