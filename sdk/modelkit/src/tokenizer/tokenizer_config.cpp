#include "tokenizer/tokenizer_config.h"

#include <charconv>
#include <memory>

#include "tokenizer/json_file.h"

namespace spnl::modelkit {
namespace {

using Value = JsonFile::Value;

std::unique_ptr<JsonFile> open_json(const std::filesystem::path& folder, const char* name) {
  std::unique_ptr<JsonFile> file;
  const auto path = folder / name;
  if (auto text = read_text_file(path))
    file = std::make_unique<JsonFile>(std::move(*text), path.string());
  if (file && !file->root().IsObject()) file->corrupt("is no object");
  return file;
}

/// A special token's spelling: a string, or an object that has it as "content".
std::optional<std::string> spelling(const Value& owner, const char* key) {
  const Value* value = JsonFile::find(owner, key);
  if (value != nullptr && value->IsObject()) value = JsonFile::find(*value, "content");
  if (value == nullptr || !value->IsString()) return std::nullopt;
  return std::string(view_of(*value));
}

constexpr const char* kRoles[] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                  "sep_token", "cls_token", "mask_token"};

void read_roles(const JsonFile& file, TokenizerConfig& config) {
  const Value& root = file.root();
  if (!config.bos) config.bos = spelling(root, "bos_token");
  if (!config.eos) config.eos = spelling(root, "eos_token");
  for (const char* const role : kRoles) {
    if (auto text = spelling(root, role)) config.specials.push_back(std::move(*text));
  }
  const Value* const more = JsonFile::find(root, "additional_special_tokens");
  if (more == nullptr || !more->IsArray()) return;
  for (const Value& item : more->GetArray()) {
    const Value* const text = item.IsObject() ? JsonFile::find(item, "content") : &item;
    if (text != nullptr && text->IsString()) config.specials.emplace_back(view_of(*text));
  }
}

std::optional<uint64_t> number_of(std::string_view text) {
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return id;
}

void read_tokenizer_settings(const JsonFile& file, TokenizerConfig& config) {
  const Value& root = file.root();
  config.tokenizer_class = file.string(root, "tokenizer_class", "");
  if (const Value* const flag = JsonFile::find(root, "add_bos_token"); flag && flag->IsBool())
    config.add_bos = flag->GetBool();
  if (const Value* const flag = JsonFile::find(root, "add_eos_token"); flag && flag->IsBool())
    config.add_eos = flag->GetBool();
  const Value* const added = JsonFile::find(root, "added_tokens_decoder");
  if (added == nullptr || !added->IsObject()) return;
  for (const auto& [key, value] : added->GetObject()) {
    AddedSpec spec = read_added_token(file, value);
    spec.id = number_of(view_of(key));
    config.added.push_back(std::move(spec));
  }
}

void read_added_ids(const JsonFile& file, TokenizerConfig& config) {
  for (const auto& [key, value] : file.root().GetObject()) {
    if (!value.IsUint64()) file.corrupt("an id is no natural number");
    AddedSpec spec;
    spec.token.text = view_of(key);
    spec.id = value.GetUint64();
    config.added.push_back(std::move(spec));
  }
}

/// eos_token_id: a number or a list of numbers.
void add_ends(const Value& owner, TokenizerConfig& config) {
  const Value* const ids = JsonFile::find(owner, "eos_token_id");
  if (ids == nullptr) return;
  const auto add = [&](const Value& id) {
    if (!id.IsUint64()) return;
    if (!config.ends) config.ends.emplace();
    config.ends->push_back(id.GetUint64());
  };
  if (ids->IsArray()) {
    for (const Value& id : ids->GetArray()) add(id);
  } else {
    add(*ids);
  }
}

void read_model_ids(const Value& owner, TokenizerConfig& config) {
  add_ends(owner, config);
  const Value* const bos = JsonFile::find(owner, "bos_token_id");
  if (bos != nullptr && bos->IsUint64() && !config.bos_id) config.bos_id = bos->GetUint64();
  if (config.ends && !config.eos_id && !config.ends->empty()) config.eos_id = config.ends->front();
}

}  // namespace

AddedSpec read_added_token(const JsonFile& file, const Value& value) {
  AddedSpec spec;
  spec.token.text = file.string(value, "content", "");
  spec.token.control = file.flag(value, "special", false);
  spec.token.strip_left = file.flag(value, "lstrip", false);
  spec.token.strip_right = file.flag(value, "rstrip", false);
  spec.token.single_word = file.flag(value, "single_word", false);
  spec.normalized = file.flag(value, "normalized", !spec.token.control);
  return spec;
}

TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder) {
  TokenizerConfig config;
  bool says_bos = false, says_eos = false;  // a role that is null there has no token
  if (const auto file = open_json(folder, "tokenizer_config.json")) {
    read_roles(*file, config);
    read_tokenizer_settings(*file, config);
    says_bos = file->root().HasMember("bos_token");
    says_eos = file->root().HasMember("eos_token");
  }
  if (const auto file = open_json(folder, "special_tokens_map.json")) read_roles(*file, config);
  if (const auto file = open_json(folder, "added_tokens.json")) read_added_ids(*file, config);
  if (const auto file = open_json(folder, "generation_config.json"))
    read_model_ids(file->root(), config);
  if (const auto file = open_json(folder, "config.json")) {
    read_model_ids(file->root(), config);
    if (const Value* const text = JsonFile::find(file->root(), "text_config"))
      read_model_ids(*text, config);
  }
  if (says_bos || config.bos) config.bos_id.reset();
  if (says_eos || config.eos) config.eos_id.reset();
  return config;
}

}  // namespace spnl::modelkit
