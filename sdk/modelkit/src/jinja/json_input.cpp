#include "jinja/json_input.h"

#include <rapidjson/encodedstream.h>
#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <charconv>

namespace spnl::modelkit::jinja {

namespace {

constexpr size_t kMaxJsonDepth = 300;

/// Builds values from RapidJSON's events; containers under construction wait on a stack.
class Builder {
 public:
  bool Null() { return put(Value()); }
  bool Bool(bool v) { return put(Value(v)); }
  bool Int(int v) { return put(Value(v)); }
  bool Uint(unsigned v) { return put(Value(static_cast<int64_t>(v))); }
  bool Int64(int64_t v) { return put(Value(v)); }
  bool Uint64(uint64_t v) { return put(Value(static_cast<int64_t>(v))); }
  bool Double(double v) { return put(Value(v)); }

  bool RawNumber(const char* s, rapidjson::SizeType n, bool) {
    std::string text(s, n);
    if (text.find_first_of(".eE") != text.npos)
      return put(Value(std::strtod(text.c_str(), nullptr)));
    int64_t i = 0;
    if (std::from_chars(s, s + n, i).ec == std::errc()) return put(Value(i));
    auto big = std::make_shared<BigInt>();
    big->digits = std::move(text);
    return put(Value(Kind::kBigInt, std::move(big)));
  }

  bool String(const char* s, rapidjson::SizeType n, bool) {
    return put(Value(std::string_view(s, n)));
  }

  bool StartObject() { return open(true); }
  bool Key(const char* s, rapidjson::SizeType n, bool) {
    stack_.back().key = Value(std::string_view(s, n));
    return true;
  }
  bool EndObject(rapidjson::SizeType) {
    Value v = make_dict(std::move(stack_.back().dict));
    stack_.pop_back();
    return put(std::move(v));
  }
  bool StartArray() { return open(false); }
  bool EndArray(rapidjson::SizeType) {
    Value v = Value::list(std::move(stack_.back().items));
    stack_.pop_back();
    return put(std::move(v));
  }

  Value result;

 private:
  struct Open {
    std::shared_ptr<Dict> dict;
    Value key;
    std::vector<Value> items;
  };

  bool open(bool object) {
    if (stack_.size() >= kMaxJsonDepth) fail("input JSON is nested too deeply");
    stack_.emplace_back();
    if (object) stack_.back().dict = std::make_shared<Dict>();
    return true;
  }

  bool put(Value v) {
    if (stack_.empty()) {
      result = std::move(v);
    } else if (stack_.back().dict) {
      stack_.back().dict->set(stack_.back().key, std::move(v));
    } else {
      stack_.back().items.push_back(std::move(v));
    }
    return true;
  }

  std::vector<Open> stack_;
};

}  // namespace

std::shared_ptr<Dict> parse_input(std::string_view json) {
  Builder builder;
  rapidjson::MemoryStream stream(json.data(), json.size());
  rapidjson::EncodedInputStream<rapidjson::UTF8<>, rapidjson::MemoryStream> input(stream);
  rapidjson::Reader reader;
  constexpr unsigned kFlags = rapidjson::kParseIterativeFlag |
                              rapidjson::kParseValidateEncodingFlag |
                              rapidjson::kParseNumbersAsStringsFlag;
  auto status = reader.Parse<kFlags>(input, builder);
  if (status.IsError()) {
    fail(std::string("input is not valid JSON: ") + rapidjson::GetParseError_En(status.Code()) +
         " At byte " + std::to_string(status.Offset()) + ".");
  }
  if (!builder.result.is(Kind::kDict)) fail("input must be one JSON object");
  return std::static_pointer_cast<Dict>(builder.result.shared());
}

}  // namespace spnl::modelkit::jinja
