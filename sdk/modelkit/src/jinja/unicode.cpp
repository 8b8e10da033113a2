#include "jinja/unicode.h"

#include <algorithm>

#include "jinja/unicode_tables.h"
#include "jinja/value.h"

namespace spnl::modelkit::jinja {

namespace {

template <class R>
const R* find_run(const R* runs, size_t count, char32_t c) {
  const R* end = runs + count;
  // Runs with stride 2 may interleave with a neighbour: look at the two that start at or before c.
  const R* at = std::upper_bound(runs, end, c, [](char32_t x, const R& r) { return x < r.first; });
  for (int back = 0; back < 4 && at != runs; ++back) {
    --at;
    if (c <= at->last && (c - at->first) % at->stride == 0) return at;
  }
  return nullptr;
}

const Multi* find_multi(const Multi* list, size_t count, char32_t c) {
  const Multi* at = std::lower_bound(list, list + count, c,
                                     [](const Multi& m, char32_t x) { return m.from < x; });
  return at != list + count && at->from == c ? at : nullptr;
}

char32_t shift(const CaseRun* run, char32_t c) {
  return run ? static_cast<char32_t>(static_cast<int64_t>(c) + run->delta) : c;
}

void append_mapped(std::string& out, char32_t c, const Multi* multi) {
  if (!multi) return append_char(out, c);
  for (uint32_t m : multi->to) {
    if (m) append_char(out, m);
  }
}

void append_upper(std::string& out, char32_t c) {
  if (c < 128) {
    out += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
    return;
  }
  append_mapped(out, shift(find_run(kToUpper, kToUpperCount, c), c),
                find_multi(kUpperMulti, kUpperMultiCount, c));
}

void append_title(std::string& out, char32_t c) {
  if (c < 128) return append_upper(out, c);
  const CaseRun* run = find_run(kToTitle, kToTitleCount, c);
  if (!run) run = find_run(kToUpper, kToUpperCount, c);
  append_mapped(out, shift(run, c), find_multi(kTitleMulti, kTitleMultiCount, c));
}

bool case_ignorable(char32_t c) { return find_run(kCaseIgnorable, kCaseIgnorableCount, c); }

/// A capital sigma ends a word: a cased letter before it and none after, case-ignorables aside.
bool final_sigma(const std::u32string& s, size_t at) {
  size_t i = at;
  while (i > 0 && case_ignorable(s[i - 1])) --i;
  if (i == 0 || !is_cased(s[i - 1])) return false;
  i = at + 1;
  while (i < s.size() && case_ignorable(s[i])) ++i;
  return i == s.size() || !is_cased(s[i]);
}

void append_lower(std::string& out, const std::u32string& s, size_t at) {
  char32_t c = s[at];
  if (c < 128) {
    out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  } else if (c == 0x3A3) {
    append_char(out, final_sigma(s, at) ? 0x3C2 : 0x3C3);
  } else if (c == 0x130) {  // the only letter whose lower case is two code points
    append_char(out, 'i');
    append_char(out, 0x307);
  } else {
    append_char(out, shift(find_run(kToLower, kToLowerCount, c), c));
  }
}

}  // namespace

bool is_ascii(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return static_cast<uint8_t>(c) < 128; });
}

size_t char_bytes(char lead) {
  auto c = static_cast<uint8_t>(lead);
  return c < 0xC0 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

bool is_valid_utf8(std::string_view s) {
  static constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  for (size_t i = 0; i < s.size();) {
    auto lead = static_cast<uint8_t>(s[i]);
    if (lead < 128) {
      ++i;
      continue;
    }
    size_t n = char_bytes(s[i]);
    if (lead < 0xC2 || lead > 0xF4 || i + n > s.size()) return false;
    uint32_t c = lead & (0x7Fu >> n);
    for (size_t k = 1; k < n; ++k) {
      auto next = static_cast<uint8_t>(s[i + k]);
      if ((next & 0xC0) != 0x80) return false;
      c = c << 6 | (next & 0x3F);
    }
    if (c < kLeast[n] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return false;
    i += n;
  }
  return true;
}

size_t char_count(std::string_view s) {
  return static_cast<size_t>(std::count_if(
      s.begin(), s.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

size_t char_count(const Str& s) { return s.ascii ? s.text.size() : char_count(s.text); }

char32_t next_char(std::string_view s, size_t& pos) {
  auto lead = static_cast<uint8_t>(s[pos]);
  size_t n = std::min(char_bytes(s[pos]), s.size() - pos);
  if (n == 1) {
    ++pos;
    return lead;
  }
  char32_t c = lead & (0x7Fu >> n);
  for (size_t k = 1; k < n; ++k) c = c << 6 | (static_cast<uint8_t>(s[pos + k]) & 0x3F);
  pos += n;
  return c;
}

void append_char(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

std::u32string decode(std::string_view s) {
  std::u32string out;
  out.reserve(s.size());
  for (size_t i = 0; i < s.size();) out += next_char(s, i);
  return out;
}

std::string encode(std::u32string_view s) {
  std::string out;
  out.reserve(s.size());
  for (char32_t c : s) append_char(out, c);
  return out;
}

bool is_alpha(char32_t c) {
  if (c < 128) return (c | 32) >= 'a' && (c | 32) <= 'z';
  return find_run(kAlpha, kAlphaCount, c);
}
bool is_decimal(char32_t c) {
  return c < 128 ? c >= '0' && c <= '9' : find_run(kDecimal, kDecimalCount, c) != nullptr;
}
bool is_digit(char32_t c) { return is_decimal(c) || find_run(kDigitOnly, kDigitOnlyCount, c); }
bool is_numeric(char32_t c) { return is_digit(c) || find_run(kNumericOnly, kNumericOnlyCount, c); }
bool is_alnum(char32_t c) { return is_alpha(c) || is_numeric(c); }
bool is_space(char32_t c) {
  if (c < 128) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F);
  return find_run(kSpace, kSpaceCount, c);
}
bool is_lower(char32_t c) {
  return c < 128 ? c >= 'a' && c <= 'z' : find_run(kLower, kLowerCount, c) != nullptr;
}
bool is_upper(char32_t c) {
  return c < 128 ? c >= 'A' && c <= 'Z' : find_run(kUpper, kUpperCount, c) != nullptr;
}
bool is_title(char32_t c) { return c >= 128 && find_run(kTitle, kTitleCount, c); }
bool is_cased(char32_t c) { return is_lower(c) || is_upper(c) || is_title(c); }
bool is_printable(char32_t c) {
  return c < 128 ? c >= 32 && c < 127 : !find_run(kUnprintable, kUnprintableCount, c);
}
bool is_line_break(char32_t c) {
  return (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

std::string to_upper(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  for (size_t i = 0; i < s.size();) append_upper(out, next_char(s, i));
  return out;
}

std::string to_lower(std::string_view s) {
  std::u32string chars = decode(s);
  std::string out;
  out.reserve(s.size());
  for (size_t i = 0; i < chars.size(); ++i) append_lower(out, chars, i);
  return out;
}

std::string to_title(std::string_view s) {
  std::u32string chars = decode(s);
  std::string out;
  out.reserve(s.size());
  bool inside = false;
  for (size_t i = 0; i < chars.size(); ++i) {
    if (inside) {
      append_lower(out, chars, i);
    } else {
      append_title(out, chars[i]);
    }
    inside = is_cased(chars[i]);
  }
  return out;
}

std::string to_capitalized(std::string_view s) {
  std::u32string chars = decode(s);
  std::string out;
  out.reserve(s.size());
  for (size_t i = 0; i < chars.size(); ++i) {
    if (i == 0) {
      append_title(out, chars[i]);
    } else {
      append_lower(out, chars, i);
    }
  }
  return out;
}

std::string swap_case(std::string_view s) {
  std::u32string chars = decode(s);
  std::string out;
  for (size_t i = 0; i < chars.size(); ++i) {
    if (is_upper(chars[i])) {
      append_lower(out, chars, i);
    } else if (is_lower(chars[i])) {
      append_upper(out, chars[i]);
    } else {
      append_char(out, chars[i]);
    }
  }
  return out;
}

std::string_view strip(std::string_view s, bool left, bool right, const std::string_view* chars) {
  std::u32string set = chars ? decode(*chars) : std::u32string();
  auto drop = [&](char32_t c) { return chars ? set.find(c) != set.npos : is_space(c); };
  while (left && !s.empty()) {
    size_t pos = 0;
    if (!drop(next_char(s, pos))) break;
    s.remove_prefix(pos);
  }
  while (right && !s.empty()) {
    size_t start = s.size() - 1;
    while (start > 0 && (static_cast<uint8_t>(s[start]) & 0xC0) == 0x80) --start;
    size_t pos = start;
    if (!drop(next_char(s, pos))) break;
    s.remove_suffix(s.size() - start);
  }
  return s;
}

}  // namespace spnl::modelkit::jinja
