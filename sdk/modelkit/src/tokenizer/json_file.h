#pragma once
#include <rapidjson/document.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace spnl::modelkit {

/// A JSON text, parsed in its own bytes. Strings of the document point into it.
class JsonFile {
 public:
  using Value = rapidjson::Value;

  /// `name` is what messages call it. Throws Error(kCorrupt) for what is no JSON or nests deeper
  /// than a tokenizer can.
  JsonFile(std::string text, std::string name);
  JsonFile(const JsonFile&) = delete;
  JsonFile& operator=(const JsonFile&) = delete;

  const Value& root() const { return document_; }
  const std::string& name() const { return name_; }
  size_t size() const { return text_.size(); }

  /// The member, or null when `object` is no object, lacks it, or has null there.
  static const Value* find(const Value& object, const char* key);
  /// Members of a type, or the default when absent. Throw Error(kCorrupt) for another type.
  bool flag(const Value& object, const char* key, bool otherwise) const;
  std::string_view string(const Value& object, const char* key, std::string_view otherwise) const;
  std::optional<uint64_t> number(const Value& object, const char* key) const;
  const Value* array(const Value& object, const char* key) const;
  /// The value of "type"; Error(kCorrupt) when there is none.
  std::string_view type(const Value& object, const char* what) const;

  [[noreturn]] void corrupt(const std::string& what) const;
  [[noreturn]] void unsupported(const std::string& what) const;

 private:
  std::string text_, name_;
  rapidjson::Document document_;
};

/// Whole file as text; nullopt when it does not exist. Throws Error(kIo), or kUnsupported for one
/// above `limit` bytes.
std::optional<std::string> read_text_file(const std::filesystem::path& path,
                                          uint64_t limit = uint64_t{1} << 30);

inline std::string_view view_of(const rapidjson::Value& value) {
  return {value.GetString(), value.GetStringLength()};
}

}  // namespace spnl::modelkit
