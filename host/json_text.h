#pragma once
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace spnl::host {

/// Writes one JSON value; always valid: text that is not UTF-8 gets U+FFFD, numbers that JSON lacks
/// become null.
class JsonText {
 public:
  JsonText() : writer_(buffer_) {}

  JsonText& begin_object() { return writer_.StartObject(), *this; }
  JsonText& end_object() { return writer_.EndObject(), *this; }
  JsonText& begin_array() { return writer_.StartArray(), *this; }
  JsonText& end_array() { return writer_.EndArray(), *this; }
  JsonText& key(std::string_view name);
  JsonText& text(std::string_view value);
  JsonText& integer(int64_t value) { return writer_.Int64(value), *this; }
  JsonText& whole(uint64_t value) { return writer_.Uint64(value), *this; }
  JsonText& boolean(bool value) { return writer_.Bool(value), *this; }
  JsonText& null() { return writer_.Null(), *this; }
  /// With as many digits as a float has.
  JsonText& number(double value);
  JsonText& rounded(double value, int decimals);
  JsonText& optional_rounded(std::optional<double> value, int decimals);
  /// The fewest digits that read back the same float.
  JsonText& shortest(float value);
  /// One value that is JSON already.
  JsonText& value(const std::string& json) {
    return writer_.RawValue(json.data(), json.size(), rapidjson::kObjectType), *this;
  }
  JsonText& ids(const std::vector<int32_t>& values);
  JsonText& texts(const std::vector<std::string>& values);

  std::string str() const { return std::string(buffer_.GetString(), buffer_.GetSize()); }

 private:
  JsonText& raw_number(const char* text, size_t length);

  rapidjson::StringBuffer buffer_;
  rapidjson::Writer<rapidjson::StringBuffer> writer_;
};

}  // namespace spnl::host
