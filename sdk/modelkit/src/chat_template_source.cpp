#include "chat_template_source.h"

#include "json_file.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

std::unique_ptr<ChatTemplate> refusing_template(std::string_view why) {
  std::string text;
  for (const char c : why.substr(0, 300))
    text += c == '\'' ? '"' : c == '\\' ? '/' : static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return std::make_unique<ChatTemplate>("{{ raise_exception('" + text + "') }}");
}

std::unique_ptr<ChatTemplate> parse(std::string_view source) {
  try {
    return std::make_unique<ChatTemplate>(source);
  } catch (const Error& error) {
    return refusing_template("the model has a broken chat template (" + std::string(error.what()) +
                             "); use raw prompts");
  }
}

/// The member "chat_template": a string, or a list of {name, template}.
std::optional<std::string> template_of(const JsonFile& file) {
  const auto value = file.root().find("chat_template");
  if (!value) return std::nullopt;
  if (value->is_string()) return value->text();
  if (!value->is_array()) file.corrupt("chat_template is neither a string nor a list");
  std::optional<std::string> first;
  for (const JsonValue& entry : value->elements()) {
    const std::string source = file.string(entry, "template", "");
    if (file.string(entry, "name", "") == "default") return source;
    if (!first) first = source;
  }
  return first;
}

}  // namespace

std::unique_ptr<ChatTemplate> read_chat_template(const GgufFile& file) {
  for (const char* const key : {"tokenizer.chat_template", "tokenizer.chat_template.default"}) {
    if (const auto source = file.get_string(key)) return parse(*source);
  }
  return nullptr;
}

std::unique_ptr<ChatTemplate> read_chat_template(const std::filesystem::path& folder) {
  const auto source = chat_template_text(folder);
  return source ? parse(*source) : nullptr;
}

std::optional<std::string> chat_template_text(const std::filesystem::path& folder) {
  if (auto source = read_text_file(folder / "chat_template.jinja")) return source;
  for (const char* const name : {"chat_template.json", "tokenizer_config.json"}) {
    const auto file = JsonFile::open(folder / name);
    if (!file) continue;
    if (auto source = template_of(*file)) return source;
  }
  return std::nullopt;
}

}  // namespace spnl::modelkit
