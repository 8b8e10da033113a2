#pragma once
#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <stdexcept>
#include <string>
#include <string_view>

/// A fixture in JSON, read by other code than what is tested.
class JsonFixture {
 public:
  using Value = rapidjson::Value;

  JsonFixture(const std::string& text, const std::string& name) {
    document_.Parse<rapidjson::kParseFullPrecisionFlag>(text.data(), text.size());
    if (document_.HasParseError()) throw std::runtime_error(name + " is no JSON");
  }
  JsonFixture(const JsonFixture&) = delete;
  const Value& root() const { return document_; }

 private:
  rapidjson::Document document_;
};

inline std::string_view view_of(const rapidjson::Value& value) {
  return {value.GetString(), value.GetStringLength()};
}

inline std::string written(const rapidjson::Value& value) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  value.Accept(writer);
  return {buffer.GetString(), buffer.GetSize()};
}
