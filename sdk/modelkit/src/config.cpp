#include "spnl/modelkit/config.h"

#include <cmath>

#include "gguf_part.h"
#include "json_file.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {

struct Config::Document {
  std::filesystem::path file;
  std::unique_ptr<const JsonFile> json;
};

namespace {

constexpr size_t kMaxBytes = size_t{8} << 20;

std::optional<uint64_t> as_uint(const JsonValue& value) {
  if (!value.is_number()) return std::nullopt;
  if (const auto whole = value.whole()) return whole;
  // Some writers give 4096.0.
  const double number = value.number();
  if (number >= 0 && number < 0x1p53 && number == std::floor(number))
    return static_cast<uint64_t>(number);
  return std::nullopt;
}

std::optional<double> as_float(const JsonValue& value) {
  if (!value.is_number() || !std::isfinite(value.number())) return std::nullopt;
  return value.number();
}

std::optional<bool> as_bool(const JsonValue& value) {
  if (!value.is_bool()) return std::nullopt;
  return value.truth();
}

std::optional<std::string> as_string(const JsonValue& value) {
  if (!value.is_string()) return std::nullopt;
  return value.text();
}

/// All elements of a list; nullopt when the value is none or one element is of another type.
template <class T>
std::optional<std::vector<T>> as_list(const JsonValue& value,
                                      std::optional<T> (*convert)(const JsonValue&)) {
  if (!value.is_array()) return std::nullopt;
  std::vector<T> list;
  for (const JsonValue& element : value.elements()) {
    const std::optional<T> converted = convert(element);
    if (!converted) return std::nullopt;
    list.push_back(*converted);
  }
  return list;
}

}  // namespace

Config Config::read(const std::filesystem::path& file) {
  auto json = JsonFile::open(file);
  if (!json) throw Error(ErrorCode::kNotFound, file.string() + ": there is no such file");
  return Config(file, std::move(json));
}

Config Config::parse(std::string_view json, const std::filesystem::path& file) {
  return Config(file, std::make_unique<JsonFile>(std::string(json), file.string()));
}

Config::Config(const std::filesystem::path& file, std::unique_ptr<const JsonFile> json) {
  if (json->size() > kMaxBytes)
    json->unsupported("more than " + std::to_string(kMaxBytes >> 20) +
                      " MiB of JSON; that is no model's configuration");
  if (!json->root().is_object()) json->corrupt("not a JSON object");
  object_ = std::make_shared<JsonValue>(json->root());
  document_ = std::make_shared<Document>(Document{file, std::move(json)});
}

Config::Config(std::shared_ptr<const Document> document, const JsonValue& object,
               std::string prefix)
    : document_(std::move(document)),
      object_(std::make_shared<JsonValue>(object)),
      prefix_(std::move(prefix)) {}

const std::filesystem::path& Config::path() const { return document_->file; }

std::string Config::describe(std::string_view key) const {
  return path().string() + ": '" + printable(prefix_ + std::string(key)) + "'";
}

void Config::corrupt(std::string_view key, const std::string& why) const {
  throw Error(ErrorCode::kCorrupt, describe(key) + " " + why);
}

void Config::unsupported(std::string_view key, const std::string& why) const {
  throw Error(ErrorCode::kUnsupported, describe(key) + " " + why);
}

bool Config::has(std::string_view key) const { return object_->find(key).has_value(); }

bool Config::is_null(std::string_view key) const {
  bool is_null = false;  // of a key that occurs twice, the last counts
  for (const JsonMember& member : object_->members())
    if (member.key.text_is(key)) is_null = member.value.is_null();
  return is_null;
}

bool Config::is_list(std::string_view key) const {
  const auto found = object_->find(key);
  return found && found->is_array();
}

bool Config::is_object(std::string_view key) const {
  const auto found = object_->find(key);
  return found && found->is_object();
}

std::vector<std::string> Config::keys() const {
  std::vector<std::string> names;
  for (const JsonMember& member : object_->members())
    if (!member.value.is_null()) names.push_back(member.key.text());
  return names;
}

std::optional<uint64_t> Config::get_uint(std::string_view key) const {
  const auto found = object_->find(key);
  if (!found) return std::nullopt;
  if (const auto number = as_uint(*found)) return number;
  corrupt(key, "is not a whole number from 0 on");
}

std::optional<double> Config::get_float(std::string_view key) const {
  const auto found = object_->find(key);
  if (!found) return std::nullopt;
  if (const auto number = as_float(*found)) return number;
  corrupt(key, "is not a finite number");
}

std::optional<bool> Config::get_bool(std::string_view key) const {
  const auto found = object_->find(key);
  if (!found) return std::nullopt;
  if (const auto flag = as_bool(*found)) return flag;
  corrupt(key, "is neither true nor false");
}

std::optional<std::string> Config::get_string(std::string_view key) const {
  const auto found = object_->find(key);
  if (!found) return std::nullopt;
  if (auto text = as_string(*found)) return text;
  corrupt(key, "is not a string");
}

std::optional<std::vector<uint64_t>> Config::get_uints(std::string_view key) const {
  const auto found = object_->find(key);
  if (!found) return std::nullopt;
  if (auto list = as_list<uint64_t>(*found, as_uint)) return list;
  corrupt(key, "is not a list of whole numbers from 0 on");
}

std::optional<std::vector<double>> Config::get_floats(std::string_view key) const {
  const auto found = object_->find(key);
  if (!found) return std::nullopt;
  if (auto list = as_list<double>(*found, as_float)) return list;
  corrupt(key, "is not a list of finite numbers");
}

std::optional<std::vector<bool>> Config::get_bools(std::string_view key) const {
  const auto found = object_->find(key);
  if (!found) return std::nullopt;
  if (auto list = as_list<bool>(*found, as_bool)) return list;
  corrupt(key, "is not a list of true and false");
}

std::optional<std::vector<std::string>> Config::get_strings(std::string_view key) const {
  const auto found = object_->find(key);
  if (!found) return std::nullopt;
  if (auto list = as_list<std::string>(*found, as_string)) return list;
  corrupt(key, "is not a list of strings");
}

std::optional<Config> Config::get_object(std::string_view key) const {
  const auto found = object_->find(key);
  if (!found) return std::nullopt;
  if (!found->is_object()) corrupt(key, "is not an object");
  return Config(document_, *found, prefix_ + std::string(key) + ".");
}

}  // namespace spnl::modelkit
