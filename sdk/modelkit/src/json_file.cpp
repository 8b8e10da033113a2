#include "json_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>

#include "spnl/modelkit/error.h"
#include "unicode_properties.h"

namespace spnl::modelkit {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;

// All of these walk over text that check_json has accepted.

const char* skip_blanks(const char* at) {
  while (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t') ++at;
  return at;
}

const char* skip_string(const char* at) {
  for (++at; *at != '"'; ++at)
    if (*at == '\\') ++at;
  return at + 1;
}

const char* skip_container(const char* at) {
  size_t depth = 0;
  do {
    if (*at == '"') {
      at = skip_string(at);
      continue;
    }
    if (*at == '{' || *at == '[') ++depth;
    if (*at == '}' || *at == ']') --depth;
    ++at;
  } while (depth > 0);
  return at;
}

const char* skip_word(const char* at, const char* text_end) {
  while (at<text_end&& * at> ' ' && *at != ',' && *at != ']' && *at != '}') ++at;
  return at;
}

/// The value of a member that begins with its name.
const char* value_of_member(const char* name) {
  return skip_blanks(skip_blanks(skip_string(name)) + 1);
}

char32_t hex4(const char* digits) {
  uint32_t value = 0;
  std::from_chars(digits, digits + 4, value, 16);
  return value;
}

/// Appends the character of the escape at `at` (a backslash); returns what follows.
const char* append_escape(const char* at, std::string& out) {
  static constexpr std::string_view kNames = "bfnrt", kMeanings = "\b\f\n\r\t";
  const char kind = at[1];
  if (kind != 'u') {
    const size_t known = kNames.find(kind);
    out += known == kNames.npos ? kind : kMeanings[known];
    return at + 2;
  }
  char32_t code = hex4(at + 2);
  at += 6;
  if (code >= 0xD800 && code <= 0xDBFF) {
    code = 0x10000 + ((code - 0xD800) << 10) + (hex4(at + 2) - 0xDC00);
    at += 6;
  }
  unicode::append_character(out, code);
  return at;
}

}  // namespace

template <>
JsonValue JsonValue::Range<JsonValue>::Iterator::operator*() const {
  return {*file_, at_};
}

template <>
JsonMember JsonValue::Range<JsonMember>::Iterator::operator*() const {
  return {{*file_, at_}, {*file_, value_}};
}

template <>
void JsonValue::Range<JsonValue>::Iterator::arrive() {
  value_ = at_;
}

template <>
void JsonValue::Range<JsonMember>::Iterator::arrive() {
  value_ = value_of_member(at_);
}

const char* JsonValue::item_after() const {
  const char* const at = skip_blanks(end());
  return *at == ',' ? skip_blanks(at + 1) : nullptr;
}

bool JsonValue::is_number() const {
  return (*at_ >= '0' && *at_ <= '9') || *at_ == '-' || *at_ == 'N' || *at_ == 'I';
}

const char* JsonValue::end() const {
  if (is_string()) return skip_string(at_);
  if (!is_object() && !is_array()) return skip_word(at_, file_->text_.data() + file_->size());
  const char* const text = file_->text_.data();
  const JsonExtent* const large = file_->find_large(static_cast<size_t>(at_ - text));
  return large != nullptr ? text + large->end : skip_container(at_);
}

size_t JsonValue::text_size() const { return static_cast<size_t>(end() - at_); }

std::optional<uint64_t> JsonValue::whole() const {
  uint64_t value = 0;
  const char* const stop = end();
  const auto [parsed, error] = std::from_chars(at_, stop, value);
  if (error != std::errc() || parsed != stop) return std::nullopt;
  return value;
}

double JsonValue::number() const {
  double value = NAN;
  const char* const stop = end();
  if (std::from_chars(at_, stop, value).ec == std::errc::result_out_of_range)
    value = std::strtod(std::string(at_, stop).c_str(), nullptr);  // infinity, or next to 0
  return value;
}

void JsonValue::append_text_to(std::string& out) const {
  for (const char* at = at_ + 1; *at != '"';) {
    const char* plain = at;
    while (*plain != '"' && *plain != '\\') ++plain;
    out.append(at, plain);
    at = *plain == '\\' ? append_escape(plain, out) : plain;
  }
}

std::string JsonValue::text() const {
  std::string out;
  append_text_to(out);
  return out;
}

std::optional<std::string_view> JsonValue::plain_text() const {
  const std::string_view written(at_ + 1, text_size() - 2);
  return written.find('\\') == written.npos ? std::optional(written) : std::nullopt;
}

bool JsonValue::text_is(std::string_view wanted) const {
  if (!is_string()) return false;
  const auto plain = plain_text();
  return plain ? *plain == wanted : text() == wanted;
}

const char* JsonValue::first(char open) const {
  if (*at_ != open) return nullptr;
  const char* const item = skip_blanks(at_ + 1);
  return *item == '}' || *item == ']' ? nullptr : item;
}

JsonValue::Range<JsonValue> JsonValue::elements() const { return {file_, first('[')}; }
JsonValue::Range<JsonMember> JsonValue::members() const { return {file_, first('{')}; }

size_t JsonValue::size() const {
  if (!is_object() && !is_array()) return 0;
  if (const auto* large = file_->find_large(static_cast<size_t>(at_ - file_->text_.data())))
    return large->items;
  size_t items = 0;
  if (is_array()) {
    for ([[maybe_unused]] const JsonValue& element : elements()) ++items;
  } else {
    for ([[maybe_unused]] const JsonMember& member : members()) ++items;
  }
  return items;
}

std::optional<JsonValue> JsonValue::find(std::string_view key) const {
  std::optional<JsonValue> found;
  for (const JsonMember& member : members())
    if (member.key.text_is(key)) found = member.value;
  return found && found->is_null() ? std::nullopt : found;
}

JsonFile::JsonFile(std::string text, std::string name)
    : owned_(std::move(text)), name_(std::move(name)), text_(owned_) {
  check();
}

std::unique_ptr<JsonFile> JsonFile::of_view(std::string_view text, std::string name) {
  std::unique_ptr<JsonFile> file(new JsonFile(Unowned(), std::move(name)));
  file->text_ = text;
  file->check();
  return file;
}

std::unique_ptr<JsonFile> JsonFile::open(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(std::filesystem::status(path, error))) return nullptr;
  std::unique_ptr<JsonFile> file(new JsonFile(Unowned(), path.string()));
  const auto bytes = file->mapped_.emplace(path).bytes();
  if (bytes.size() > kMaxFileBytes)
    file->unsupported("has " + std::to_string(bytes.size()) + " bytes, more than the " +
                      std::to_string(kMaxFileBytes) + " that such a file may have");
  file->text_ = {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  file->check();
  return file;
}

void JsonFile::check() {
  JsonCheck result = check_json(text_);
  if (!result.error.empty()) corrupt(result.error);
  root_ = result.root;
  large_ = std::move(result.large);
}

const JsonExtent* JsonFile::find_large(size_t begin) const {
  const auto found =
      std::lower_bound(large_.begin(), large_.end(), begin,
                       [](const JsonExtent& extent, size_t b) { return extent.begin < b; });
  return found != large_.end() && found->begin == begin ? &*found : nullptr;
}

bool JsonFile::flag(const JsonValue& object, const char* key, bool otherwise) const {
  const auto value = object.find(key);
  if (!value) return otherwise;
  if (!value->is_bool()) corrupt(std::string(key) + " is neither true nor false");
  return value->truth();
}

std::string JsonFile::string(const JsonValue& object, const char* key,
                             std::string_view otherwise) const {
  const auto value = object.find(key);
  if (!value) return std::string(otherwise);
  if (!value->is_string()) corrupt(std::string(key) + " is no string");
  return value->text();
}

std::optional<uint64_t> JsonFile::number(const JsonValue& object, const char* key) const {
  const auto value = object.find(key);
  if (!value) return std::nullopt;
  const auto number = value->whole();
  if (!number) corrupt(std::string(key) + " is no natural number");
  return number;
}

std::optional<JsonValue> JsonFile::array(const JsonValue& object, const char* key) const {
  const auto value = object.find(key);
  if (value && !value->is_array()) corrupt(std::string(key) + " is no list");
  return value;
}

std::string JsonFile::type(const JsonValue& object, const char* what) const {
  std::string name = string(object, "type", "");
  if (name.empty()) corrupt(std::string(what) + " has no type");
  return name;
}

void JsonFile::corrupt(const std::string& what) const {
  throw Error(ErrorCode::kCorrupt, name_ + ": " + what);
}

void JsonFile::unsupported(const std::string& what) const {
  throw Error(ErrorCode::kUnsupported, name_ + ": " + what);
}

std::optional<std::string> read_text_file(const std::filesystem::path& path, uint64_t limit) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return std::nullopt;
  const uint64_t size = std::filesystem::is_regular_file(status)
                            ? std::filesystem::file_size(path, error)
                            : uint64_t{0};
  if (!std::filesystem::is_regular_file(status) || error)
    throw Error(ErrorCode::kIo, path.string() + ": cannot be read");
  if (size > limit) {
    throw Error(ErrorCode::kUnsupported, path.string() + ": has " + std::to_string(size) +
                                             " bytes, more than the " + std::to_string(limit) +
                                             " that such a file may have");
  }
  std::string text(size, '\0');
  std::ifstream file(path, std::ios::binary);
  if (!file.read(text.data(), static_cast<std::streamsize>(size)) && size > 0)
    throw Error(ErrorCode::kIo, path.string() + ": cannot be read");
  return text;
}

}  // namespace spnl::modelkit
