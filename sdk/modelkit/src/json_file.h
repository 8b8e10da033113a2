#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json_check.h"
#include "mapped_file.h"

namespace spnl::modelkit {

class JsonFile;
struct JsonMember;

/// A value of a JsonFile: a place in its text, which must outlive it. Cheap to copy; thread-safe.
class JsonValue {
 public:
  bool is_object() const { return *at_ == '{'; }
  bool is_array() const { return *at_ == '['; }
  bool is_string() const { return *at_ == '"'; }
  bool is_bool() const { return *at_ == 't' || *at_ == 'f'; }
  bool is_null() const { return *at_ == 'n'; }
  bool is_number() const;

  bool truth() const { return *at_ == 't'; }    ///< of a bool
  std::optional<uint64_t> whole() const;        ///< a number written as digits only that fits
  double number() const;                        ///< of a number; may be infinite or NaN
  std::string text() const;                     ///< of a string
  void append_text_to(std::string& out) const;  ///< of a string
  /// Of a string, where it lies; none when it has escapes.
  std::optional<std::string_view> plain_text() const;
  bool text_is(std::string_view text) const;  ///< it is a string, and this one

  /// Elements of an array or members of an object; nothing for any other value.
  template <class Item>
  class Range;
  Range<JsonValue> elements() const;
  Range<JsonMember> members() const;
  size_t size() const;       ///< how many elements or members
  size_t text_size() const;  ///< bytes of the value as it is written
  /// The last member of that name, as in Python; none when this is no object, lacks it, or has null
  /// there.
  std::optional<JsonValue> find(std::string_view key) const;

 private:
  friend class JsonFile;
  JsonValue(const JsonFile& file, const char* at) : file_(&file), at_(at) {}
  const char* end() const;
  const char* first(char open) const;  ///< of its items; null when there is none
  const char* item_after() const;      ///< of the array or object it is in, likewise

  const JsonFile* file_;
  const char* at_;
};

struct JsonMember {
  JsonValue key, value;
};

template <class Item>
class JsonValue::Range {
 public:
  class Iterator {
   public:
    Item operator*() const;
    Iterator& operator++() {
      at_ = JsonValue(*file_, value_).item_after();
      if (at_ != nullptr) arrive();
      return *this;
    }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }

   private:
    friend class Range;
    Iterator(const JsonFile* file, const char* at) : file_(file), at_(at) {
      if (at_ != nullptr) arrive();
    }
    void arrive();

    const JsonFile* file_;
    const char* at_;               // null: the end
    const char* value_ = nullptr;  // of the item: itself, or what follows its name
  };
  Iterator begin() const { return {file_, first_}; }
  Iterator end() const { return {file_, nullptr}; }

 private:
  friend class JsonValue;
  Range(const JsonFile* file, const char* first) : file_(file), first_(first) {}
  const JsonFile* file_;
  const char* first_;
};

/// A JSON text (RFC 8259, and Python's NaN and Infinity) that is checked once and then read where
/// it lies. Nothing is built of it, so that no text needs more memory than itself, however it
/// nests. Const use is thread-safe.
class JsonFile {
 public:
  using Value = JsonValue;

  /// `name` is what messages call it. Throws Error(kCorrupt) for what is no JSON or nests more than
  /// 64 deep.
  JsonFile(std::string text, std::string name);
  /// `text` stays where it is, and must outlive this.
  static std::unique_ptr<JsonFile> of_view(std::string_view text, std::string name);
  /// The file, mapped; null when there is none. Throws as the constructor and MappedFile do.
  static std::unique_ptr<JsonFile> open(const std::filesystem::path& path);
  JsonFile(const JsonFile&) = delete;
  JsonFile& operator=(const JsonFile&) = delete;

  JsonValue root() const { return {*this, text_.data() + root_}; }
  const std::string& name() const { return name_; }
  size_t size() const { return text_.size(); }

  static std::optional<JsonValue> find(const JsonValue& object, std::string_view key) {
    return object.find(key);
  }
  /// Members of a type, or the default when absent. Throw Error(kCorrupt) for another type.
  bool flag(const JsonValue& object, const char* key, bool otherwise) const;
  std::string string(const JsonValue& object, const char* key, std::string_view otherwise) const;
  std::optional<uint64_t> number(const JsonValue& object, const char* key) const;
  std::optional<JsonValue> array(const JsonValue& object, const char* key) const;
  /// The value of "type"; Error(kCorrupt) when there is none.
  std::string type(const JsonValue& object, const char* what) const;

  [[noreturn]] void corrupt(const std::string& what) const;
  [[noreturn]] void unsupported(const std::string& what) const;

 private:
  friend class JsonValue;
  struct Unowned {};
  JsonFile(Unowned, std::string name) : name_(std::move(name)) {}
  void check();
  const JsonExtent* find_large(size_t begin) const;

  std::optional<MappedFile> mapped_;
  std::string owned_, name_;
  std::string_view text_;  // of either, or of someone else
  size_t root_ = 0;
  std::vector<JsonExtent> large_;  // which are not gone through again to find what follows them
};

/// Whole file as text; nullopt when it does not exist. Throws Error(kIo), or kUnsupported for one
/// above `limit` bytes.
std::optional<std::string> read_text_file(const std::filesystem::path& path,
                                          uint64_t limit = uint64_t{1} << 30);

}  // namespace spnl::modelkit
