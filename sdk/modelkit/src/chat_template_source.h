#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "spnl/modelkit/chat_template.h"
#include "spnl/modelkit/gguf.h"

namespace spnl::modelkit {

/// The model's own chat template; null when it has none. A template that cannot be parsed gives one
/// that refuses every message with the reason: raw prompts still work, and nothing is guessed.

/// tokenizer.chat_template, else tokenizer.chat_template.default.
std::unique_ptr<ChatTemplate> read_chat_template(const GgufFile& file);
/// Of a folder in Hugging Face's layout: chat_template.jinja, else chat_template.json, else
/// tokenizer_config.json; of several the one named "default", else the first. Throws
/// Error(kCorrupt) for a file that is no JSON.
std::unique_ptr<ChatTemplate> read_chat_template(const std::filesystem::path& folder);
/// The same as it is written.
std::optional<std::string> chat_template_text(const std::filesystem::path& folder);

}  // namespace spnl::modelkit
