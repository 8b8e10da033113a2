#pragma once
#include <string>

#include "spnl/backends.h"

namespace spnl::host {

/// The whole of a file, or of standard input for "-". Throws Error(kUsage): not there, a folder,
/// larger than 100 MB.
std::string read_input(const std::string& path, const std::string& option);

/// The same, checked to be UTF-8.
std::string read_text(const std::string& path, const std::string& option);

/// Throws as read_input does unless `path` is a file that can be opened for reading.
void check_file(const std::string& path, const std::string& option);

/// Prompts of one fragment or two.
Prompt raw_prompt(std::string text, bool parse_special);
Prompt token_prompt(std::vector<int32_t> ids);
Prompt chat_prompt(const std::string& system, std::string user);

/// A chat as JSON: a list of messages, or an object with "messages" and maybe "tools" and
/// "add_generation_prompt".
struct Chat {
  Prompt prompt;
  PromptOptions options;
};

/// Throws Error(kUsage) for bad JSON and for keys that a model's own template call cannot honour,
/// naming them.
Chat read_chat(const std::string& json, const std::string& source);

/// Throws Error(kUsage) with line and column unless `json` is one JSON value.
void check_json(const std::string& json, const std::string& source);

}  // namespace spnl::host
