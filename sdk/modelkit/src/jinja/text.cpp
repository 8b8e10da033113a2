#include "jinja/text.h"

#include <algorithm>

#include "jinja/budget.h"
#include "jinja/unicode.h"

namespace spnl::modelkit::jinja {

std::vector<std::string_view> split_space(std::string_view s, int64_t max, bool right) {
  std::vector<std::string_view> out;
  for (;;) {
    s = strip(s, !right, right);
    if (s.empty()) break;
    if (max >= 0 && static_cast<int64_t>(out.size()) >= max) {
      out.push_back(right ? strip(s, false, true) : s);
      break;
    }
    size_t cut = right ? 0 : s.size();
    if (!right) {
      for (size_t i = 0; i < s.size();) {
        size_t begin = i;
        if (is_space(next_char(s, i))) {
          cut = begin;
          break;
        }
      }
      out.push_back(s.substr(0, cut));
      s.remove_prefix(cut);
    } else {
      for (size_t end = s.size(); end > 0;) {
        size_t start = end - 1;
        while (start > 0 && (static_cast<uint8_t>(s[start]) & 0xC0) == 0x80) --start;
        size_t pos = start;
        if (is_space(next_char(s, pos))) {
          cut = end;
          break;
        }
        end = start;
      }
      out.push_back(s.substr(cut));
      s = s.substr(0, cut);
    }
  }
  if (right) std::reverse(out.begin(), out.end());
  return out;
}

std::vector<std::string_view> split_text(std::string_view s, std::string_view sep, int64_t max,
                                         bool right) {
  std::vector<std::string_view> out;
  while (max < 0 || static_cast<int64_t>(out.size()) < max) {
    size_t at = right ? s.rfind(sep) : s.find(sep);
    if (at == s.npos) break;
    out.push_back(right ? s.substr(at + sep.size()) : s.substr(0, at));
    s = right ? s.substr(0, at) : s.substr(at + sep.size());
  }
  out.push_back(s);
  if (right) std::reverse(out.begin(), out.end());
  return out;
}

std::vector<std::string_view> split_lines(std::string_view s, bool keep_ends) {
  std::vector<std::string_view> out;
  size_t begin = 0;
  for (size_t i = 0; i < s.size();) {
    size_t at = i;
    char32_t c = next_char(s, i);
    if (!is_line_break(c)) continue;
    if (c == '\r' && i < s.size() && s[i] == '\n') ++i;
    out.push_back(s.substr(begin, (keep_ends ? i : at) - begin));
    begin = i;
  }
  if (begin < s.size()) out.push_back(s.substr(begin));
  return out;
}

std::string replace_text(std::string_view s, std::string_view from, std::string_view to,
                         int64_t count) {
  std::string out;
  auto more = [&] { return count < 0 || count-- > 0; };
  if (from.empty()) {  // Python puts the new text around every character
    size_t i = 0;
    while (i < s.size() && more()) {
      size_t begin = i;
      next_char(s, i);
      out += to;
      out += s.substr(begin, i - begin);
      check_text(out.size());
    }
    if (i >= s.size() && more()) out += to;
    out += s.substr(i);
    return out;
  }
  size_t begin = 0;
  for (size_t at; (at = s.find(from, begin)) != s.npos && more(); begin = at + from.size()) {
    out += s.substr(begin, at - begin);
    out += to;
    check_text(out.size());
  }
  out += s.substr(begin);
  return out;
}

std::string justified(const std::string& s, int64_t width, const std::string& fill, char align) {
  int64_t size = static_cast<int64_t>(char_count(s));
  int64_t missing = width - size;
  if (missing <= 0) return s;
  if (missing > static_cast<int64_t>(kMaxText / 4)) check_text(kMaxText + 1);
  spend_text(static_cast<size_t>(missing) * fill.size());
  // str.center puts the odd blank on the left when the width is odd
  int64_t left = align == '<' ? 0 : align == '>' ? missing : missing / 2 + (missing & width & 1);
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += s;
  for (int64_t i = left; i < missing; ++i) out += fill;
  return out;
}

bool has_case(std::string_view s, bool upper) {
  bool any = false;
  for (size_t i = 0; i < s.size();) {
    char32_t c = next_char(s, i);
    if (is_title(c) || (upper ? is_lower(c) : is_upper(c))) return false;
    any |= upper ? is_upper(c) : is_lower(c);
  }
  return any;
}

}  // namespace spnl::modelkit::jinja
