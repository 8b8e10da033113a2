// Chats in the form that chat templates are given: {"messages": [{"role":, "content":}], "tools":
// [...], ...}.
#include <rapidjson/document.h>
#include <rapidjson/error/en.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "input.h"
#include "spnl/error.h"

namespace spnl::host {
namespace {

using rapidjson::Document;
using rapidjson::Value;

[[noreturn]] void chat_error(const std::string& what, const std::string& where) {
  throw Error(ErrorCode::kUsage, what, where,
              "write {\"messages\": [{\"role\": \"user\", \"content\": \"...\"}]}");
}

Document parse(const std::string& json, const std::string& source) {
  Document document;
  // Iterative: hostile nesting must not eat the stack.
  document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag>(
      json.data(), json.size());
  if (!document.HasParseError()) return document;
  size_t line = 1, column = 1;
  for (size_t i = 0; i < document.GetErrorOffset() && i < json.size(); ++i) {
    column = json[i] == '\n'
                 ? 1
                 : column + ((static_cast<unsigned char>(json[i]) & 0xC0) != 0x80 ? 1 : 0);
    line += json[i] == '\n' ? 1 : 0;
  }
  throw Error(ErrorCode::kUsage,
              std::string("bad JSON: ") + rapidjson::GetParseError_En(document.GetParseError()),
              source + ":" + std::to_string(line) + ":" + std::to_string(column),
              "give one JSON value");
}

std::string text_of(const Value& value) {
  return std::string(value.GetString(), value.GetStringLength());
}

std::string content_text(const Value& content, const std::string& where) {
  if (content.IsString()) return text_of(content);
  if (content.IsNull()) return "";
  if (!content.IsArray()) chat_error("content must be a text or a list of text parts", where);
  std::string out;
  for (const Value& part : content.GetArray()) {
    bool is_text = part.IsObject() && part.HasMember("type") && part["type"].IsString() &&
                   text_of(part["type"]) == "text" && part.HasMember("text") &&
                   part["text"].IsString();
    if (!is_text) chat_error("only text parts can be sent to a model here", where + ".content");
    out += text_of(part["text"]);
  }
  return out;
}

Role role_of(const std::string& name, const std::string& where) {
  if (name == "system") return Role::kSystem;
  if (name == "user") return Role::kUser;
  if (name == "assistant") return Role::kAssistant;
  if (name == "tool") return Role::kTool;
  chat_error("unknown role '" + name + "'", where);
}

Prompt message_of(const Value& message, const std::string& where) {
  if (!message.IsObject()) chat_error("a message must be an object", where);
  std::string others;
  for (const auto& member : message.GetObject()) {
    std::string key = text_of(member.name);
    if (key != "role" && key != "content") others += (others.empty() ? "" : ", ") + key;
  }
  if (!others.empty()) chat_error("cannot pass on these keys of a message: " + others, where);
  if (!message.HasMember("role") || !message["role"].IsString())
    chat_error("a message needs a role", where);
  Prompt leaf;
  leaf.kind = Prompt::Kind::kMessage;
  leaf.role = role_of(text_of(message["role"]), where + ".role");
  if (message.HasMember("content")) leaf.text = content_text(message["content"], where);
  return leaf;
}

std::string as_json(const Value& value) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  value.Accept(writer);
  return std::string(buffer.GetString(), buffer.GetSize());
}

}  // namespace

void check_json(const std::string& json, const std::string& source) { parse(json, source); }

Chat read_chat(const std::string& json, const std::string& source) {
  Document document = parse(json, source);
  Chat chat;
  const Value* messages = &document;
  if (document.IsObject()) {
    std::string others;
    for (const auto& member : document.GetObject()) {
      std::string key = text_of(member.name);
      if (key != "messages" && key != "tools" && key != "add_generation_prompt")
        others += (others.empty() ? "" : ", ") + key;
    }
    if (!others.empty())
      throw Error(
          ErrorCode::kUsage, "a model's own template cannot be given: " + others, source,
          "leave them out, or render the template's file with spnl-host template --template");
    if (!document.HasMember("messages")) chat_error("no messages", source);
    messages = &document["messages"];
    if (document.HasMember("tools") && !document["tools"].IsNull())
      chat.options.tools_json = as_json(document["tools"]);
    if (document.HasMember("add_generation_prompt")) {
      const Value& wanted = document["add_generation_prompt"];
      if (!wanted.IsBool()) chat_error("add_generation_prompt must be true or false", source);
      chat.options.no_generation = !wanted.GetBool();
    }
  }
  if (!messages->IsArray()) chat_error("messages must be a list", source);
  size_t number = 0;
  for (const Value& message : messages->GetArray())
    chat.prompt.children.push_back(
        message_of(message, source + ": messages[" + std::to_string(number++) + "]"));
  return chat;
}

}  // namespace spnl::host
