#include <rapidjson/error/error.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>

#include "reader/data.h"
#include "reader/value.h"
#include "util/text.h"

namespace spnl::reader {
namespace {

// The iterative parser keeps its state on the heap, so no nesting can use up the stack.
constexpr unsigned kParseFlags =
    rapidjson::kParseIterativeFlag | rapidjson::kParseNumbersAsStringsFlag;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/// Collects the values. The parser tells where a value ends; where it begins follows from where the
/// one before ended, since nothing but blanks and separators stands between.
class Collector : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Collector> {
 public:
  Collector(std::string_view text, const rapidjson::MemoryStream& stream, size_t start, Data& data)
      : text_(text), stream_(stream), start_(start), end_(start), data_(data) {}

  bool Null() { return scalar(DataKind::kNull, "null"); }
  bool Bool(bool value) { return scalar(DataKind::kBoolean, value ? "true" : "false"); }
  bool RawNumber(const char* digits, rapidjson::SizeType length, bool) {
    return scalar(DataKind::kNumber, {digits, length});
  }
  bool String(const char* text, rapidjson::SizeType length, bool) {
    return scalar(DataKind::kString, {text, length});
  }
  bool Key(const char* text, rapidjson::SizeType length, bool) {
    return scalar(DataKind::kString, {text, length});
  }
  bool StartObject() { return begin(DataKind::kMap); }
  bool StartArray() { return begin(DataKind::kList); }
  bool EndObject(rapidjson::SizeType) { return end(); }
  bool EndArray(rapidjson::SizeType) { return end(); }
  bool Default() { return false; }  // numbers arrive as text

  /// Where the next value begins, or the bracket or whatever else stands there.
  size_t next() const {
    size_t at = end_;
    while (at < text_.size() && (is_blank(text_[at]) || text_[at] == ',' || text_[at] == ':')) ++at;
    return at;
  }

 private:
  bool scalar(DataKind kind, std::string_view text) {
    const size_t begin = next();
    end_ = start_ + stream_.Tell();
    const bool holes = kind == DataKind::kString &&
                       text_.substr(begin, end_ - begin).find("{{") != std::string_view::npos;
    data_.scalar(kind, text, begin, holes);
    return true;
  }
  bool begin(DataKind kind) {
    const size_t at = next();
    data_.begin(kind, at);
    end_ = at + 1;
    return true;
  }
  bool end() {
    end_ = next() + 1;
    data_.end();
    return true;
  }

  const std::string_view text_;
  const rapidjson::MemoryStream& stream_;
  const size_t start_;
  size_t end_;
  Data& data_;
};

/// The word or character at `at`, for messages.
std::string here(std::string_view text, size_t at) {
  if (at >= text.size()) return "end of text";
  const auto is_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  size_t end = at;
  while (end < text.size() && is_word(text[end])) ++end;
  return text::quote(end > at ? text.substr(at, end - at) : text::character_at(text, at));
}

std::string value_hint(std::string_view text, size_t at) {
  const char c = at < text.size() ? text[at] : ' ';
  if (c == '\'') return "texts stand between double quotes";
  if (c == '/' || c == '#') return "JSON has no comments";
  if (c == ']' || c == '}') return "no comma before a closing bracket";
  return at < text.size() && (std::string_view("([{").find(c) == std::string_view::npos)
             ? "texts stand between double quotes"
             : "";
}

std::string key_hint(std::string_view text, size_t at) {
  const char c = at < text.size() ? text[at] : ' ';
  if (c == '}') return "no comma before a closing bracket";
  return c == '{' ? kQuoteHoles : "";
}

/// Turns the parser's verdict into the language's way of saying it. `at`: the parser's place;
/// `value`: where the last value began.
[[noreturn]] void fail(const Source& source, Data& data, rapidjson::ParseErrorCode code, size_t at,
                       size_t value) {
  const std::string_view text = source.text;
  const auto found = [&](size_t byte, const std::string& expected, const std::string& hint = "") {
    source.fail(data.position(byte), here(text, byte), expected, hint);
  };
  const bool early = text.find_first_not_of(" \t\r\n", std::min(at, text.size())) == text.npos;
  switch (code) {
    case rapidjson::kParseErrorStringEscapeInvalid:
    case rapidjson::kParseErrorStringUnicodeEscapeInvalidHex:
    case rapidjson::kParseErrorStringUnicodeSurrogateInvalid:
    case rapidjson::kParseErrorStringInvalidEncoding:
      while (at < text.size() && at > value && text[at] != '\\' &&
             static_cast<unsigned char>(text[at]) >= 0x20)
        --at;
      if (at < text.size() && static_cast<unsigned char>(text[at]) < 0x20)
        found(at, "'\"' or an escape", "a line break inside a text is written \\n");
      if (code == rapidjson::kParseErrorStringUnicodeSurrogateInvalid)
        source.fail(data.position(at), "half a surrogate pair", "two \\u escapes");
      if (code == rapidjson::kParseErrorStringUnicodeEscapeInvalidHex)
        source.fail(data.position(at), text::quote(text.substr(at, 6)),
                    "four hexadecimal digits after \\u");
      source.fail(data.position(at), text::quote(text.substr(at, 2)) + " as an escape",
                  "one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX");
      break;
    case rapidjson::kParseErrorStringMissQuotationMark:
      source.fail(data.position(value), "a string without end", "'\"'");
      break;
    case rapidjson::kParseErrorNumberMissFraction:
    case rapidjson::kParseErrorNumberMissExponent:
      found(at, "a digit");
      break;
    case rapidjson::kParseErrorNumberTooBig: {
      const size_t end = std::min(text.find_first_of(" \t\r\n,]}", value), text.size());
      source.fail(data.position(value),
                  "number " + text::quote(text.substr(value, end - value)) + " out of range",
                  "a number that a double can hold");
    }
    case rapidjson::kParseErrorDocumentEmpty:
      source.fail({1, 1}, "end of text", "a query");
      break;
    default:
      break;
  }
  if (early && !data.open().empty()) {
    const DataNode& open = data[data.open().back()];
    const bool map = open.kind == DataKind::kMap;
    source.fail(open.position, map ? "'{' without its end" : "'[' without its end",
                map ? "'}'" : "']'");
  }
  switch (code) {
    case rapidjson::kParseErrorDocumentRootNotSingular:
      found(at, "end of text", "a file holds one query; {\"seq\": [...]} puts several in order");
      break;
    case rapidjson::kParseErrorObjectMissName:
      found(at, "a key between double quotes", key_hint(text, at));
      break;
    case rapidjson::kParseErrorObjectMissColon:
      found(at, "':'");
      break;
    case rapidjson::kParseErrorObjectMissCommaOrCurlyBracket:
      found(at, "',' or '}'");
      break;
    case rapidjson::kParseErrorArrayMissCommaOrSquareBracket:
      found(at, "',' or ']'");
      break;
    default:
      found(value, data.size() == 0 ? "a query" : "a value", value_hint(text, value));
  }
  source.refuse(data.position(at), "this is no JSON");
}

/// Takes the strings of an array and nothing else.
class StringCollector : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, StringCollector> {
 public:
  bool Default() { return other(); }
  bool RawNumber(const char*, rapidjson::SizeType, bool) { return other(); }
  bool String(const char* text, rapidjson::SizeType length, bool) {
    if (depth_ == 1) strings.emplace_back(text, length);
    return depth_ > 0;
  }
  bool Key(const char*, rapidjson::SizeType, bool) { return true; }
  bool StartObject() { return start(); }
  bool EndObject(rapidjson::SizeType) { return end(); }
  bool StartArray() { return start(); }
  bool EndArray(rapidjson::SizeType) { return end(); }

  std::vector<std::string> strings;
  size_t others = 0;  ///< elements that are no strings

 private:
  bool other() {
    others += depth_ == 1;
    return depth_ > 0;
  }
  bool start() {
    others += depth_ == 1;
    ++depth_;
    return true;
  }
  bool end() {
    --depth_;
    return true;
  }

  size_t depth_ = 0;
};

}  // namespace

Data parse_json(const Source& source) {
  source.check();
  const size_t start = source.text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  const std::string_view text = source.text.substr(start);
  Data data(source);
  rapidjson::MemoryStream stream(text.data(), text.size());
  Collector collector(source.text, stream, start, data);
  rapidjson::Reader reader;
  reader.Parse<kParseFlags>(stream, collector);
  if (reader.HasParseError())
    fail(source, data, reader.GetParseErrorCode(), start + reader.GetErrorOffset(),
         collector.next());
  return data;
}

std::optional<std::vector<std::string>> json_strings(std::string_view text, std::string& problem) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '[') return std::nullopt;
  rapidjson::MemoryStream stream(text.data(), text.size());
  StringCollector collector;
  rapidjson::Reader reader;
  reader.Parse<kParseFlags>(stream, collector);
  if (reader.HasParseError()) return std::nullopt;
  if (collector.others > 0)
    problem =
        "a JSON array with " + std::to_string(collector.others) + " elements that are no strings";
  return std::move(collector.strings);
}

}  // namespace spnl::reader
