#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <istream>
#include <optional>
#include <streambuf>
#include <unordered_map>

#include "reader/data.h"
#include "util/text.h"

namespace spnl::reader {
namespace {

/// Lets the parser read a text in place.
class TextBuffer : public std::streambuf {
 public:
  explicit TextBuffer(std::string& text) {
    setg(text.data(), text.data(), text.data() + text.size());
  }
};

/// The parser ends a plain text in a flow collection ("{user: Who?}") at a question mark, which
/// YAML does not. So it gets a control character in the place of each question mark, which a YAML
/// text cannot hold; one that no escape in the text stands for either.
char stand_in(std::string_view text) {
  std::string lower(text.substr(0, text.find('\\') == text.npos ? 0 : text.npos));
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  for (const char* hex : {"1f", "1e", "1d", "1c", "1a", "19", "18", "17", "16", "15"})
    if (lower.find(hex) == lower.npos) return static_cast<char>(std::stoi(hex, nullptr, 16));
  return '?';  // the parser's limits stay
}

/// Question marks that begin no complex key: those inside a word and at its end.
void replace_question_marks(std::string& text, char by) {
  const auto is_one = [](char c, std::string_view set) { return set.find(c) != set.npos; };
  for (size_t i = 0; i + 1 < text.size(); ++i)
    if (text[i] == '?' &&
        (!is_one(text[i + 1], " \t\r\n") || (i > 0 && !is_one(text[i - 1], " \t\r\n[{,"))))
      text[i] = by;
}

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  for (std::string_view word : words)
    if (text == word) return true;
  return false;
}

/// Decimal numbers as the core schema has them; the plus signs, which mean nothing, are left out.
std::optional<std::string> number_of(std::string_view plain) {
  std::string digits;
  for (char c : plain)
    if (c != '+') digits += c;
  size_t i = digits.starts_with('-') ? 1 : 0, count = 0;
  const auto skip = [&] {
    for (; i < digits.size() && digits[i] >= '0' && digits[i] <= '9'; ++i) ++count;
  };
  skip();
  if (i < digits.size() && digits[i] == '.') ++i, skip();
  if (count == 0) return std::nullopt;
  if (i < digits.size() && (digits[i] == 'e' || digits[i] == 'E')) {
    if (++i < digits.size() && digits[i] == '-') ++i;
    count = 0, skip();
    if (count == 0) return std::nullopt;
  }
  return i == digits.size() ? std::optional(digits) : std::nullopt;
}

/// Behind the quote that ends the string which begins at `at`; npos when there is none.
size_t end_of_quoted(std::string_view text, size_t at) {
  const char quote = text[at];
  for (size_t i = at + 1; i < text.size(); ++i) {
    if (quote == '"' && text[i] == '\\')
      ++i;
    else if (text[i] == quote && (quote == '"' || text.substr(i + 1, 1) != "'"))
      return i + 1;
    else if (text[i] == quote)
      ++i;
  }
  return std::string_view::npos;
}

/// Collects the values of one document, with aliases written out.
class Collector final : public YAML::EventHandler {
 public:
  Collector(const Source& source, size_t start, char question_mark, Data& data)
      : source_(source), start_(start), question_mark_(question_mark), data_(data) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (data_.size() > 0)
      source_.fail(data_.position(byte(mark)), "a second document", "end of text",
                   "a file holds one query; seq puts several in order");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    remember(anchor);
    // The parser's place for nothing is that of the next thing; the key that lacks a value says
    // more.
    const size_t at = byte(mark);
    const bool written = at < source_.text.size() && (source_.text[at] | 0x20) == 'n';
    const bool lacking = !written && data_.size() > 0 && source_.text.substr(at, 1) != "~";
    data_.scalar(DataKind::kNull, "null", lacking ? data_[data_.size() - 1].byte : at);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end() || data_[found->second].end == 0)
      source_.fail(data_.position(byte(mark)), "an alias of what it stands in",
                   "an alias of something complete");
    data_.repeat(found->second, byte(mark));
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& parsed) override {
    std::string value = parsed;
    std::replace(value.begin(), value.end(), question_mark_, '?');
    check_tag(mark, tag);
    remember(anchor);
    if (tag == "!") {                              // between quotes, or a block
      const auto written = quoted_at(byte(mark));  // where "{{" may be an escape
      const bool holes = (written ? *written : std::string_view(value)).find("{{") != value.npos;
      data_.scalar(DataKind::kString, value, byte(mark), holes);
      return;
    }
    if (is_one_of(value, {"", "~", "null", "Null", "NULL"}))
      data_.scalar(DataKind::kNull, "null", byte(mark));
    else if (is_one_of(value, {"true", "True", "TRUE", "false", "False", "FALSE"}))
      data_.scalar(DataKind::kBoolean, value, byte(mark));
    else if (const auto number = number_of(value))
      data_.scalar(DataKind::kNumber, *number, byte(mark));
    else
      data_.scalar(DataKind::kString, value, byte(mark), value.find("{{") != value.npos);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    begin(DataKind::kList, mark, tag, anchor);
  }
  void OnSequenceEnd() override { data_.end(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    begin(DataKind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override { data_.end(); }

  size_t byte(const YAML::Mark& mark) const {
    return start_ + static_cast<size_t>(std::max(mark.pos, 0));
  }

 private:
  void begin(DataKind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    check_tag(mark, tag);
    remember(anchor);
    data_.begin(kind, byte(mark));
  }

  void remember(YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) anchors_[anchor] = data_.size();
  }

  void check_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    constexpr std::string_view kStandard = "tag:yaml.org,2002:";
    const std::string shown =
        tag.starts_with(kStandard) ? "!!" + tag.substr(kStandard.size()) : tag;
    source_.fail(data_.position(byte(mark)), "tag " + text::quote(shown), "a value without a tag");
  }

  /// The text of a scalar as written, quotes and all, when it stands between quotes. The parser
  /// takes the end of the text for the end of a string, if a line break stands before it; here it
  /// is an error.
  std::optional<std::string_view> quoted_at(size_t at) const {
    const std::string_view text = source_.text;
    if (at < text.size() && text[at] == '&') {  // the place is that of an anchor
      at = std::min(text.find_first_of(" \t\r\n", at), text.size());
      at = std::min(text.find_first_not_of(" \t\r\n", at), text.size());
    }
    if (at >= text.size() || (text[at] != '"' && text[at] != '\'')) return std::nullopt;
    const size_t end = end_of_quoted(text, at);
    if (end == text.npos)
      source_.fail(data_.position(at), "a string without end", text::quote(text.substr(at, 1)));
    return text.substr(at, end - at);
  }

  const Source& source_;
  const size_t start_;
  const char question_mark_;
  Data& data_;
  std::unordered_map<YAML::anchor_t, uint32_t> anchors_;
};

/// What the parser says, what the language says instead, and a hint.
struct Verdict {
  std::string_view said;
  const char *expected, *hint;
};
constexpr Verdict kVerdicts[] = {
    {"end of map not found", "a key below the others, or the end",
     "entries of a map begin in one column"},
    {"end of sequence not found", "'-' below the others, or the end",
     "items of a list begin in one column"},
    {"end of map flow not found", "',' or '}'", ""},
    {"end of sequence flow not found", "',' or ']'", ""},
    {"illegal map value", "the end of the line", "a text with ': ' in it stands between quotes"},
    {"illegal block entry", "a list that begins on a line of its own", "tabs are no indentation"},
    {"unknown token", "a value", "a text that begins with this character stands between quotes"},
    {"the referenced anchor is not defined", "the name of an anchor",
     "anchors stand before their aliases"},
    {"unknown escape character", "a known escape after '\\'",
     "a backslash that is meant is written twice"},
};

/// Where the last quote without its end stands, from `from` on; npos when there is none.
size_t open_quote(std::string_view text, size_t from) {
  for (size_t i = from; i < text.size(); ++i) {
    const char quote = text[i];
    if (quote != '"' && quote != '\'') continue;
    if (i > 0 && std::string_view(" \t\r\n[{,:").find(text[i - 1]) == std::string_view::npos)
      continue;
    const size_t end = end_of_quoted(text, i);
    if (end == text.npos) return i;
    i = end - 1;
  }
  return std::string_view::npos;
}

/// The parser's complaint in the language's way of saying it.
[[noreturn]] void fail(const Source& source, Data& data, size_t at, const std::string& said) {
  const std::string_view text = source.text;
  if (text.find_first_not_of(" \t\r\n", std::min(at, text.size())) == text.npos) {  // an early end
    const size_t quote = open_quote(text, data.size() == 0 ? 0 : data[data.size() - 1].byte);
    if (quote != text.npos)
      source.fail(data.position(quote), "a string without end", text::quote(text.substr(quote, 1)));
    for (auto open = data.open().rbegin(); open != data.open().rend(); ++open) {
      const char bracket = text[data[*open].byte];
      if (bracket == '{' || bracket == '[')
        source.fail(data[*open].position, text::quote({&bracket, 1}) + " without its end",
                    bracket == '{' ? "'}'" : "']'");
    }
  }
  const std::string found =
      at < text.size() ? text::quote(text::character_at(text, at)) : "end of text";
  for (const Verdict& verdict : kVerdicts)
    if (said.find(verdict.said) != said.npos)
      source.fail(data.position(at), found, verdict.expected, verdict.hint);
  source.refuse(data.position(at), "found " + found + ", which is no YAML here: " + said);
}

/// YAML has no control characters, and the parser takes one of them for the end.
void check_controls(const Source& source, Data& data) {
  for (size_t i = 0; i < source.text.size(); ++i) {
    const char c = source.text[i];
    if (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n' && c != '\r')
      source.fail(data.position(i), "control character " + text::quote(source.text.substr(i, 1)),
                  "text", "between double quotes it is written as an escape");
  }
}

}  // namespace

Data parse_yaml(const Source& source) {
  source.check();
  Data data(source);
  check_controls(source, data);
  const size_t start = source.text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  std::string text(source.text.substr(start));
  const char question_mark = stand_in(text);
  replace_question_marks(text, question_mark);
  TextBuffer buffer(text);
  std::istream stream(&buffer);
  Collector collector(source, start, question_mark, data);
  try {
    YAML::Parser parser(stream);
    if (!parser.HandleNextDocument(collector) || data.size() == 0)
      source.fail({1, 1}, "end of text", "a query");
    parser.HandleNextDocument(collector);
  } catch (const YAML::DeepRecursion& error) {
    source.refuse(data.position(collector.byte(error.mark)),
                  "YAML is nested deeper than 500 levels", "write it in JSON or Lisp");
  } catch (const YAML::Exception& error) {
    fail(source, data, collector.byte(error.mark), error.msg);
  }
  return data;
}

}  // namespace spnl::reader
