#include <algorithm>
#include <array>
#include <cstdio>

#include "ir/data.h"
#include "spnl/print.h"
#include "util/text.h"

namespace spnl {
namespace {

/// Characters that YAML does not allow as they are, or that people cannot see: C0 and C1, DEL, line
/// and paragraph separators, the byte order mark, noncharacters. `one`: the UTF-8 of one character.
bool is_special(std::string_view one) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(one[i]); };
  if (one.size() == 1) return byte(0) < 0x20 || byte(0) == 0x7F;
  if (one.size() == 2) return byte(0) == 0xC2 && byte(1) < 0xA0;
  if (one.size() == 3)
    return one == "\xE2\x80\xA8" || one == "\xE2\x80\xA9" || one == "\xEF\xBB\xBF" ||
           one == "\xEF\xBF\xBE" || one == "\xEF\xBF\xBF";
  return false;
}

bool has_special(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const std::string_view one = text::character_at(text, i);
    if (one != "\n" && is_special(one)) return true;
    i += one.size();
  }
  return false;
}

uint32_t code_point(std::string_view one) {
  const unsigned char first = static_cast<unsigned char>(one[0]);
  uint32_t value = one.size() == 1 ? first : first & (0xFFu >> (one.size() + 1));
  for (size_t i = 1; i < one.size(); ++i)
    value = value << 6 | (static_cast<unsigned char>(one[i]) & 0x3F);
  return value;
}

std::string double_quoted(std::string_view text) {
  std::string out = "\"";
  bool brace = false;  // the last character was one
  for (size_t i = 0; i < text.size();) {
    const std::string_view one = text::character_at(text, i);
    i += one.size();
    if (one == "\"" || one == "\\") {
      (out += '\\') += one;
    } else if (one == "\n") {
      out += "\\n";
    } else if (one == "\t") {
      out += "\\t";
    } else if (one == "\r") {
      out += "\\r";
    } else if (brace && one == "{") {
      out += "\\x7b";  // a pair of braces would be filled when read again
    } else if (is_special(one)) {
      char escape[12];
      const uint32_t value = code_point(one);
      std::snprintf(escape, sizeof escape, value < 0x100 ? "\\x%02x" : "\\u%04x", value);
      out += escape;
    } else {
      out += one;
    }
    brace = one == "{";
  }
  return out + '"';
}

/// Words that some reader of YAML takes for something else than text.
bool is_reserved(std::string_view text) {
  if (text.size() > 5) return false;
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  static constexpr std::array<std::string_view, 9> kWords = {"null", "true", "false", "yes", "no",
                                                             "on",   "off",  "y",     "n"};
  return std::find(kWords.begin(), kWords.end(), lower) != kWords.end();
}

/// Whether the text can stand without quotes, on one line.
bool is_plain(std::string_view text) {
  if (text.empty() || is_reserved(text)) return false;
  const char first = text.front();
  const bool letter =
      (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z') || (first & 0x80) != 0;
  return letter && text.back() != ' ' && text.back() != ':' && text.find(": ") == text.npos &&
         text.find(" #") == text.npos && text.find("{{") == text.npos &&
         text.find('\n') == text.npos && !has_special(text);
}

/// Whether the text can be written as a literal block ("|" or "|-").
bool is_block(std::string_view text) {
  if (text.find('\n') == text.npos || text.front() == ' ' || text.front() == '\n') return false;
  if (text.ends_with("\n\n") || text.find("{{") != text.npos || has_special(text)) return false;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = text.substr(start, end - start);
    if (!line.empty() && line.find_first_not_of(' ') == line.npos) return false;
    start = end + 1;
  }
  return true;
}

class YamlSink final : public ir::DataSink {
 public:
  std::string take() {
    if (break_needed_) out_ += '\n';
    return std::move(out_);
  }

  void begin_map(size_t entries) override { begin(false, entries); }
  void end_map() override { open_.pop_back(); }
  void begin_list(size_t items) override { begin(true, items); }
  void end_list() override { open_.pop_back(); }

  void key(std::string_view name) override {
    Level& level = open_.back();
    if (!level.inline_first) break_line(level.indent);
    level.inline_first = false;
    out_ += name;
    out_ += ':';
  }

  void text(std::string_view text) override {
    lead();
    if (is_plain(text))
      out_ += text;
    else if (is_block(text))
      block(text);
    else
      out_ += double_quoted(text);
  }

  void number(std::string_view digits) override {
    lead();
    out_ += digits;
  }

  void bytes(const std::vector<uint8_t>& bytes) override {
    lead();
    out_ += '[';
    for (size_t i = 0; i < bytes.size(); ++i)
      out_ += (i > 0 ? ", " : "") + std::to_string(bytes[i]);
    out_ += ']';
  }

 private:
  struct Level {
    bool list = false;
    size_t indent = 0;
    bool inline_first = false;  ///< the first entry stands on the line at hand
  };

  void begin(bool list, size_t count) {
    const bool root = open_.empty(), in_list = !root && open_.back().list;
    const size_t indent = root ? 0 : open_.back().indent + 2;
    if (count == 0) {
      lead();
      out_ += list ? "[]" : "{}";
      open_.push_back({list, indent, false});
      return;
    }
    if (in_list) item();
    open_.push_back({list, indent, root || in_list});
  }

  /// What goes before a value that stands on its key's line, or as an item.
  void lead() {
    break_needed_ = false;
    if (open_.back().list)
      item();
    else
      out_ += ' ';
  }

  void item() {
    Level& level = open_.back();
    if (!level.inline_first) break_line(level.indent);
    level.inline_first = false;
    out_ += "- ";
  }

  void block(std::string_view text) {
    break_needed_ = text.ends_with('\n');
    out_ += break_needed_ ? "|" : "|-";
    if (break_needed_) text.remove_suffix(1);
    const size_t indent = open_.back().indent + 2;
    for (size_t start = 0; start <= text.size();) {
      const size_t end = std::min(text.find('\n', start), text.size());
      const std::string_view line = text.substr(start, end - start);
      break_line(line.empty() ? 0 : indent);
      out_ += line;
      start = end + 1;
    }
  }

  void break_line(size_t indent) { (out_ += '\n').append(indent, ' '); }

  std::string out_;
  bool break_needed_ = false;  ///< the last text is a block whose last line break counts
  std::vector<Level> open_;
};

}  // namespace

std::string print_yaml(const Query& query) {
  YamlSink sink;
  ir::tell(query, sink);
  return sink.take();
}

}  // namespace spnl
