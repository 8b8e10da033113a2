#include "spnl/modelkit/config.h"

#include <rapidjson/document.h>
#include <rapidjson/error/en.h>

#include <cmath>

#include "gguf_part.h"
#include "mapped_file.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {

struct Config::Document {
  std::filesystem::path file;
  rapidjson::Document json;
};

namespace {

using Value = rapidjson::Value;

constexpr size_t kMaxBytes = size_t{8} << 20;  // what is kept of it takes up to eight times as much
constexpr size_t kMaxDepth = 64;

/// Brackets that are open at once, outside strings.
size_t depth_of(std::string_view json) {
  size_t depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

std::optional<uint64_t> as_uint(const Value& value) {
  if (value.IsUint64()) return value.GetUint64();
  // Some writers give 4096.0.
  if (value.IsDouble() && value.GetDouble() >= 0 && value.GetDouble() < 0x1p53 &&
      value.GetDouble() == std::floor(value.GetDouble()))
    return static_cast<uint64_t>(value.GetDouble());
  return std::nullopt;
}

std::optional<double> as_float(const Value& value) {
  if (!value.IsNumber() || !std::isfinite(value.GetDouble())) return std::nullopt;
  return value.GetDouble();
}

std::optional<bool> as_bool(const Value& value) {
  if (!value.IsBool()) return std::nullopt;
  return value.GetBool();
}

std::optional<std::string> as_string(const Value& value) {
  if (!value.IsString()) return std::nullopt;
  return std::string(value.GetString(), value.GetStringLength());
}

/// All elements of a list; nullopt when the value is none or one element is of another type.
template <class T>
std::optional<std::vector<T>> as_list(const Value& value,
                                      std::optional<T> (*convert)(const Value&)) {
  if (!value.IsArray()) return std::nullopt;
  std::vector<T> list;
  list.reserve(value.Size());
  for (const Value& element : value.GetArray()) {
    const std::optional<T> converted = convert(element);
    if (!converted) return std::nullopt;
    list.push_back(*converted);
  }
  return list;
}

}  // namespace

Config Config::read(const std::filesystem::path& file) {
  const MappedFile mapped(file);
  const auto bytes = mapped.bytes();
  return parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file);
}

Config Config::parse(std::string_view json, const std::filesystem::path& file) {
  if (json.starts_with("\xEF\xBB\xBF")) json.remove_prefix(3);
  const auto fail = [&](ErrorCode code, const std::string& why) -> void {
    throw Error(code, file.string() + ": " + why);
  };
  if (json.size() > kMaxBytes)
    fail(ErrorCode::kUnsupported, "more than " + std::to_string(kMaxBytes >> 20) +
                                      " MiB of JSON; that is no model's configuration");
  if (depth_of(json) > kMaxDepth)
    fail(ErrorCode::kCorrupt, "nested more than " + std::to_string(kMaxDepth) + " deep");
  auto document = std::make_shared<Document>();
  document->file = file;
  document->json.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseFullPrecisionFlag |
                       rapidjson::kParseNanAndInfFlag>(json.data(), json.size());
  if (document->json.HasParseError())
    fail(ErrorCode::kCorrupt, std::string("bad JSON at byte ") +
                                  std::to_string(document->json.GetErrorOffset()) + ": " +
                                  rapidjson::GetParseError_En(document->json.GetParseError()));
  if (!document->json.IsObject()) fail(ErrorCode::kCorrupt, "not a JSON object");
  const void* root = &document->json;
  return Config(std::move(document), root, "");
}

Config::Config(std::shared_ptr<const Document> document, const void* object, std::string prefix)
    : document_(std::move(document)), object_(object), prefix_(std::move(prefix)) {}

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

const void* Config::value(std::string_view key) const {
  const void* found = nullptr;  // of a key that occurs twice, the last counts, as in Python
  for (const auto& member : static_cast<const Value*>(object_)->GetObject())
    if (std::string_view(member.name.GetString(), member.name.GetStringLength()) == key)
      found = member.value.IsNull() ? nullptr : &member.value;
  return found;
}

bool Config::has(std::string_view key) const { return value(key) != nullptr; }

bool Config::is_null(std::string_view key) const {
  bool is_null = false;
  for (const auto& member : static_cast<const Value*>(object_)->GetObject())
    if (std::string_view(member.name.GetString(), member.name.GetStringLength()) == key)
      is_null = member.value.IsNull();
  return is_null;
}

bool Config::is_list(std::string_view key) const {
  const auto* found = static_cast<const Value*>(value(key));
  return found != nullptr && found->IsArray();
}

bool Config::is_object(std::string_view key) const {
  const auto* found = static_cast<const Value*>(value(key));
  return found != nullptr && found->IsObject();
}

std::vector<std::string> Config::keys() const {
  std::vector<std::string> names;
  for (const auto& member : static_cast<const Value*>(object_)->GetObject())
    if (!member.value.IsNull())
      names.emplace_back(member.name.GetString(), member.name.GetStringLength());
  return names;
}

std::optional<uint64_t> Config::get_uint(std::string_view key) const {
  const auto* found = static_cast<const Value*>(value(key));
  if (found == nullptr) return std::nullopt;
  if (const auto number = as_uint(*found)) return number;
  corrupt(key, "is not a whole number from 0 on");
}

std::optional<double> Config::get_float(std::string_view key) const {
  const auto* found = static_cast<const Value*>(value(key));
  if (found == nullptr) return std::nullopt;
  if (const auto number = as_float(*found)) return number;
  corrupt(key, "is not a finite number");
}

std::optional<bool> Config::get_bool(std::string_view key) const {
  const auto* found = static_cast<const Value*>(value(key));
  if (found == nullptr) return std::nullopt;
  if (const auto flag = as_bool(*found)) return flag;
  corrupt(key, "is neither true nor false");
}

std::optional<std::string> Config::get_string(std::string_view key) const {
  const auto* found = static_cast<const Value*>(value(key));
  if (found == nullptr) return std::nullopt;
  if (auto text = as_string(*found)) return text;
  corrupt(key, "is not a string");
}

std::optional<std::vector<uint64_t>> Config::get_uints(std::string_view key) const {
  const auto* found = static_cast<const Value*>(value(key));
  if (found == nullptr) return std::nullopt;
  if (auto list = as_list<uint64_t>(*found, as_uint)) return list;
  corrupt(key, "is not a list of whole numbers from 0 on");
}

std::optional<std::vector<double>> Config::get_floats(std::string_view key) const {
  const auto* found = static_cast<const Value*>(value(key));
  if (found == nullptr) return std::nullopt;
  if (auto list = as_list<double>(*found, as_float)) return list;
  corrupt(key, "is not a list of finite numbers");
}

std::optional<std::vector<bool>> Config::get_bools(std::string_view key) const {
  const auto* found = static_cast<const Value*>(value(key));
  if (found == nullptr) return std::nullopt;
  if (auto list = as_list<bool>(*found, as_bool)) return list;
  corrupt(key, "is not a list of true and false");
}

std::optional<std::vector<std::string>> Config::get_strings(std::string_view key) const {
  const auto* found = static_cast<const Value*>(value(key));
  if (found == nullptr) return std::nullopt;
  if (auto list = as_list<std::string>(*found, as_string)) return list;
  corrupt(key, "is not a list of strings");
}

std::optional<Config> Config::get_object(std::string_view key) const {
  const auto* found = static_cast<const Value*>(value(key));
  if (found == nullptr) return std::nullopt;
  if (!found->IsObject()) corrupt(key, "is not an object");
  return Config(document_, found, prefix_ + std::string(key) + ".");
}

}  // namespace spnl::modelkit
