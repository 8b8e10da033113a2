#include "tokenizer/tokenizer_config.h"

#include <charconv>
#include <memory>

#include "json_file.h"

namespace spnl::modelkit {
namespace {

std::unique_ptr<JsonFile> open_json(const std::filesystem::path& folder, const char* name) {
  auto file = JsonFile::open(folder / name);
  if (file && !file->root().is_object()) file->corrupt("is no object");
  return file;
}

/// A special token's spelling: a string, or an object that has it as "content".
std::optional<std::string> spelling(const JsonValue& owner, const char* key) {
  auto value = owner.find(key);
  if (value && value->is_object()) value = value->find("content");
  if (!value || !value->is_string()) return std::nullopt;
  return value->text();
}

constexpr size_t kMostSpecials = 10000;
constexpr const char* kRoles[] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                  "sep_token", "cls_token", "mask_token"};

void read_roles(const JsonFile& file, TokenizerConfig& config) {
  const JsonValue root = file.root();
  if (!config.bos) config.bos = spelling(root, "bos_token");
  if (!config.eos) config.eos = spelling(root, "eos_token");
  for (const char* const role : kRoles) {
    if (auto text = spelling(root, role)) config.specials.push_back(std::move(*text));
  }
  const auto more = root.find("additional_special_tokens");
  if (!more || !more->is_array()) return;
  if (more->size() > kMostSpecials)
    file.unsupported("has more than " + std::to_string(kMostSpecials) +
                     " additional_special_tokens");
  for (const JsonValue& item : more->elements()) {
    const auto text = item.is_object() ? item.find("content") : item;
    if (text && text->is_string()) config.specials.push_back(text->text());
  }
}

std::optional<uint64_t> number_of(std::string_view text) {
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return id;
}

void read_tokenizer_settings(const JsonFile& file, TokenizerConfig& config) {
  const JsonValue root = file.root();
  config.tokenizer_class = file.string(root, "tokenizer_class", "");
  if (const auto flag = root.find("add_bos_token"); flag && flag->is_bool())
    config.add_bos = flag->truth();
  if (const auto flag = root.find("add_eos_token"); flag && flag->is_bool())
    config.add_eos = flag->truth();
  const auto added = root.find("added_tokens_decoder");
  if (!added) return;
  AddedSpecs specs(file, config.added);
  for (const auto& [key, value] : added->members()) {
    AddedSpec spec = read_added_token(file, value);
    spec.id = number_of(key.text());
    specs.add(std::move(spec));
  }
}

void read_added_ids(const JsonFile& file, TokenizerConfig& config) {
  AddedSpecs specs(file, config.added);
  for (const auto& [key, value] : file.root().members()) {
    AddedSpec spec;
    spec.token.text = key.text();
    spec.id = value.whole();
    if (!spec.id) file.corrupt("an id is no natural number");
    specs.add(std::move(spec));
  }
}

/// eos_token_id: a number or a list of numbers.
void add_ends(const JsonValue& owner, TokenizerConfig& config) {
  const auto ids = owner.find("eos_token_id");
  if (!ids) return;
  const auto add = [&](const JsonValue& value) {
    const auto id = value.whole();
    if (!id) return;
    if (!config.ends) config.ends.emplace();
    config.ends->push_back(*id);
  };
  if (ids->is_array()) {
    for (const JsonValue& id : ids->elements()) add(id);
  } else {
    add(*ids);
  }
}

void read_model_ids(const JsonValue& owner, TokenizerConfig& config) {
  add_ends(owner, config);
  const auto bos = owner.find("bos_token_id");
  if (bos && !config.bos_id) config.bos_id = bos->whole();
  if (config.ends && !config.eos_id && !config.ends->empty()) config.eos_id = config.ends->front();
}

}  // namespace

void AddedSpecs::add(AddedSpec spec) {
  if (spec.token.text.empty()) return;
  cost_ += kAddedTokenBytes + kAddedTextCopies * spec.token.text.size();
  if (cost_ > 2 * file_.size() + kSmallTokenizer)
    file_.corrupt("has more added tokens than a file of its size can describe");
  list_.push_back(std::move(spec));
}

AddedSpec read_added_token(const JsonFile& file, const JsonValue& value) {
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
    for (const auto& [key, value] : file->root().members()) {
      says_bos = says_bos || key.text_is("bos_token");
      says_eos = says_eos || key.text_is("eos_token");
    }
  }
  if (const auto file = open_json(folder, "special_tokens_map.json")) read_roles(*file, config);
  if (const auto file = open_json(folder, "added_tokens.json")) read_added_ids(*file, config);
  if (const auto file = open_json(folder, "generation_config.json"))
    read_model_ids(file->root(), config);
  if (const auto file = open_json(folder, "config.json")) {
    read_model_ids(file->root(), config);
    if (const auto text = file->root().find("text_config")) read_model_ids(*text, config);
  }
  if (says_bos || config.bos) config.bos_id.reset();
  if (says_eos || config.eos) config.eos_id.reset();
  return config;
}

}  // namespace spnl::modelkit
