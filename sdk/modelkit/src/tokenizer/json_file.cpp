#include "tokenizer/json_file.h"

#include <rapidjson/error/en.h>

#include <algorithm>
#include <fstream>

#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

constexpr int kDeepest = 64;

// Our readers walk a document with few levels; what nests deeper is refused before it costs memory.
bool nests_too_deeply(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kDeepest) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

}  // namespace

JsonFile::JsonFile(std::string text, std::string name)
    : text_(std::move(text)), name_(std::move(name)) {
  if (nests_too_deeply(text_)) corrupt("is nested too deeply");
  const std::string_view mark = "\xEF\xBB\xBF";
  char* begin = text_.data();
  if (std::string_view(text_).substr(0, mark.size()) == mark) begin += mark.size();
  constexpr unsigned kFlags = rapidjson::kParseInsituFlag | rapidjson::kParseIterativeFlag |
                              rapidjson::kParseFullPrecisionFlag;
  document_.ParseInsitu<kFlags>(begin);
  if (document_.HasParseError()) {
    corrupt(std::string("is not valid JSON: ") +
            rapidjson::GetParseError_En(document_.GetParseError()) + " At byte " +
            std::to_string(document_.GetErrorOffset()) + ".");
  }
}

const JsonFile::Value* JsonFile::find(const Value& object, const char* key) {
  if (!object.IsObject()) return nullptr;
  const auto member = object.FindMember(key);
  return member == object.MemberEnd() || member->value.IsNull() ? nullptr : &member->value;
}

bool JsonFile::flag(const Value& object, const char* key, bool otherwise) const {
  const Value* const value = find(object, key);
  if (value == nullptr) return otherwise;
  if (!value->IsBool()) corrupt(std::string(key) + " is neither true nor false");
  return value->GetBool();
}

std::string_view JsonFile::string(const Value& object, const char* key,
                                  std::string_view otherwise) const {
  const Value* const value = find(object, key);
  if (value == nullptr) return otherwise;
  if (!value->IsString()) corrupt(std::string(key) + " is no string");
  return view_of(*value);
}

std::optional<uint64_t> JsonFile::number(const Value& object, const char* key) const {
  const Value* const value = find(object, key);
  if (value == nullptr) return std::nullopt;
  if (!value->IsUint64()) corrupt(std::string(key) + " is no natural number");
  return value->GetUint64();
}

const JsonFile::Value* JsonFile::array(const Value& object, const char* key) const {
  const Value* const value = find(object, key);
  if (value != nullptr && !value->IsArray()) corrupt(std::string(key) + " is no list");
  return value;
}

std::string_view JsonFile::type(const Value& object, const char* what) const {
  const std::string_view name = string(object, "type", "");
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
